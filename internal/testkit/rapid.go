package testkit

import (
	"flag"
	"strconv"
	"testing"
)

// Rapid sets how many histories, of about how many steps, rapid.Check tries in
// this test; -rapid.checks and -rapid.steps of the command line overrule it. The
// test must not be parallel.
func Rapid(t testing.TB, checks, steps int) {
	t.Helper()
	for name, value := range map[string]int{"rapid.checks": checks, "rapid.steps": steps} {
		f := flag.Lookup(name)
		if f == nil || f.Value.String() != f.DefValue {
			continue
		}
		if err := flag.Set(name, strconv.Itoa(value)); err != nil {
			t.Fatalf("setting -%s: %v", name, err)
		}
		t.Cleanup(func() { _ = flag.Set(name, f.DefValue) })
	}
}
