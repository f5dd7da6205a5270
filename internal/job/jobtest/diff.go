package jobtest

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// diff names the exported fields in which two structs differ, with both
// values. Times may be apart by within; UpdatedAt is not looked at, since a
// store need not note every change in it, nor Seq, which counts all jobs'
// events.
func diff[T any](got, want T, within time.Duration) string {
	var out []string
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		name := g.Type().Field(i).Name
		a, b := g.Field(i).Interface(), w.Field(i).Interface()
		if name != "UpdatedAt" && name != "Seq" && !alike(a, b, within) {
			out = append(out, fmt.Sprintf("%s: %v, want %v", name, a, b))
		}
	}
	return strings.Join(out, "; ")
}

func alike(a, b any, within time.Duration) bool {
	switch a := a.(type) {
	case time.Time:
		b := b.(time.Time)
		return a.IsZero() == b.IsZero() && a.Sub(b).Abs() <= within
	case time.Duration:
		return (a - b.(time.Duration)).Abs() <= within
	case []byte:
		return string(a) == string(b.([]byte))
	}
	return reflect.DeepEqual(a, b)
}
