package tasks

import "strings"

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	// Field is its path: "to[2]", "headers.X-Tag"; "payload" where the whole of
	// a payload is at fault.
	Field   string
	Problem string // a phrase that follows the name: "must not be empty"
}

// Invalid is the error of a payload or request that cannot be accepted: every
// bad field with what is wrong with it.
type Invalid []FieldError

func (v Invalid) Error() string {
	parts := make([]string, len(v))
	for i, f := range v {
		parts[i] = f.Field + " " + f.Problem
	}
	return strings.Join(parts, "; ")
}

// Add notes one more bad field.
func (v *Invalid) Add(field, problem string) {
	*v = append(*v, FieldError{Field: field, Problem: problem})
}

// OrNil is the error, or nil where nothing was noted.
func (v Invalid) OrNil() error {
	if len(v) == 0 {
		return nil
	}
	return v
}
