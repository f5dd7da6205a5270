package sheet

import "testing"

func TestGuarded(t *testing.T) {
	for cell, want := range map[string]string{
		"": "", "ann": "ann", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\tx": "'\tx", "\rx": "'\rx",
		"'": "'", "'quoted": "'quoted", "'=1": "''=1", "''=1": "'''=1", "a=1": "a=1",
	} {
		if got := Guarded(cell); got != want {
			t.Errorf("%q is written %q, want %q", cell, got, want)
		}
		if got := Unguarded(Guarded(cell)); got != cell {
			t.Errorf("%q comes back as %q", cell, got)
		}
	}
}
