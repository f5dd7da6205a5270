package tasks_test

import (
	"bytes"
	"testing"

	"github.com/postrider/postrider/tasks"
)

// FuzzCanonical: a payload of any built-in type is refused by the names of its
// fields, or its stored form is read back as the same.
func FuzzCanonical(f *testing.F) {
	for _, raw := range []string{
		"", "null", "{}", "[]", `{"sleep_ms":1}`, `{"slot":"x"}`, `{"user":"ann","message":"m","type":"info"}`, `{"everyone":true,"message":"\u2028"}`,
		`{"to":["ann@example.org"],"subject":"s","text":"x"}`, `{"data":{"a":[1e400]}}`, `{"zone":"Local"}`,
	} {
		for i := range tasks.Builtin() {
			f.Add(i, []byte(raw))
		}
	}
	types := tasks.Builtin()
	f.Fuzz(func(t *testing.T, which int, raw []byte) {
		typ := types[uint(which)%uint(len(types))]
		first, recipient, err := typ.Canonical(raw)
		if err != nil {
			badFields(t, err)
			return
		}
		second, again, err := typ.Canonical(first)
		if err != nil || !bytes.Equal(first, second) || recipient != again {
			t.Errorf("%s: canonical once more it is %s for %q, %v; the first time %s for %q", typ.Name, second, again, err, first, recipient)
		}
	})
}
