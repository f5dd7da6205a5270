package job

import (
	"errors"
	"fmt"

	"github.com/postrider/postrider/tasks"
)

// Code classes an error or an outcome. It is translated once to an HTTP
// status, once to what asynq is told, and is the metrics' label.
type Code string

// The codes.
const (
	CodeInvalid      Code = "invalid"
	CodeNotFound     Code = "not_found"
	CodeConflict     Code = "conflict"
	CodeUnauthorized Code = "unauthorized"
	CodeForbidden    Code = "forbidden"
	CodeRateLimited  Code = "rate_limited"
	CodeSuppressed   Code = "suppressed"
	CodeExpired      Code = "expired"
	CodeCancelled    Code = "cancelled"
	CodeTemporary    Code = "temporary"
	CodePermanent    Code = "permanent"
	CodeAmbiguous    Code = "ambiguous"
	CodeInternal     Code = "internal"
)

// Error is an error with a code. Message is fit for the caller's eyes; what
// it wraps is for the log.
type Error struct {
	Code    Code
	Message string
	Fields  tasks.Invalid // of CodeInvalid: each bad field
	Err     error
}

func (e *Error) Error() string {
	msg := e.Message
	if msg == "" {
		msg = e.Fields.Error()
	}
	if e.Err != nil {
		return msg + ": " + e.Err.Error()
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error that wraps nothing.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error around err, whose own words stay out of Message.
func Wrap(code Code, err error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

// Invalid makes an Error of CodeInvalid out of what a validation found.
func Invalid(err error) *Error {
	var fields tasks.Invalid
	if errors.As(err, &fields) {
		return &Error{Code: CodeInvalid, Fields: fields}
	}
	return &Error{Code: CodeInvalid, Message: err.Error()}
}

// CodeOf is an error's code: CodeInternal for one that has none, empty for
// nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
