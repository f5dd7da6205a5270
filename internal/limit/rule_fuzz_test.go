package limit

import (
	"reflect"
	"testing"
)

// FuzzRules: what is read is written so that it is read the same.
func FuzzRules(f *testing.F) {
	for _, s := range []string{
		"queue:bulk=100/s,queue:bulk.concurrency=20,domain:gmail.com=600/m", "", ",", "queue:=", "domain:x=1/h", "queue:a.concurrency.concurrency=1",
		"queue:a=99999999999999999999/s", "domain:\x00=1/s", "queue:a=1/s,queue:A=1/s",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var first, second Rules
		if first.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := second.UnmarshalText([]byte(first.String())); err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%q is read as %s, and that as %s: %v", text, first, second, err)
		}
		for k, rule := range first {
			if p := rule.Rate; !p.Off() && (p.pace().starts < 1 || p.pace().window <= 0) {
				t.Errorf("%s has the pace %+v", k, p.pace())
			}
		}
	})
}
