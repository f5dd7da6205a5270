package mail

import (
	"slices"
	"testing"
)

// What is to be avoided is last, and is not left out.
func TestRouteAvoids(t *testing.T) {
	providers := at(t, "smtp://a?name=one&priority=1 smtp://b?name=two&priority=2 smtp://c?name=three&priority=3")
	for _, test := range []struct{ avoid, want []string }{
		{nil, []string{"one", "two", "three"}},
		{[]string{"one"}, []string{"two", "three", "one"}},
		{[]string{"two", "one", "none"}, []string{"three", "one", "two"}},
		{[]string{"one", "two", "three"}, []string{"one", "two", "three"}},
	} {
		var got []string
		for _, p := range route(providers, "example.com", "", test.avoid) {
			got = append(got, p.name)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("avoiding %v, the route is %v", test.avoid, got)
		}
	}
}
