package mail

import (
	"slices"
	"testing"
)

// at makes providers that are there to be chosen only.
func at(t *testing.T, raw string) []*provider {
	t.Helper()
	all, err := parseProviders(raw)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]*provider, len(all))
	for i, s := range all {
		out[i] = &provider{settings: s}
	}
	return out
}

func names(providers []*provider) []string {
	out := make([]string, len(providers))
	for i, p := range providers {
		out[i] = p.name
	}
	return out
}

func TestRoute(t *testing.T) {
	providers := at(t, `
		smtp://h?name=spare&priority=50
		smtp://h?name=all
		smtp://h?name=shop&from=shop.example
		smtp://h?name=shop-spare&from=shop.example,other.example&priority=20
		smtp://h?name=alerts&category=alert,login
		smtp://h?name=shop-alerts&from=shop.example&category=alert&priority=99`)
	for _, test := range []struct {
		domain, category string
		want             []string
	}{
		{"example.com", "", []string{"all", "spare"}},
		{"example.com", "news", []string{"all", "spare"}},
		{"example.com", "login", []string{"alerts", "all", "spare"}},
		{"shop.example", "", []string{"shop", "shop-spare", "all", "spare"}},
		{"other.example", "", []string{"shop-spare", "all", "spare"}},
	} {
		if got := names(route(providers, test.domain, test.category, nil)); !slices.Equal(got, test.want) {
			t.Errorf("%s, %q: got %v, want %v", test.domain, test.category, got, test.want)
		}
	}
	if got := route(providers, "shop.example", "alert", nil); got[0].name != "shop-alerts" {
		t.Errorf("got %v: what names both comes first, whatever its priority", names(got))
	}
	if got := route(at(t, "smtp://h?from=shop.example"), "example.com", "", nil); len(got) != 0 {
		t.Errorf("got %v, want none", names(got))
	}
}

func TestRouteByWeight(t *testing.T) {
	providers := at(t, "smtp://h?name=one&weight=1 smtp://h?name=three&weight=3")
	const draws = 10_000
	first := 0
	for range draws {
		if route(providers, "example.com", "", nil)[0].name == "three" {
			first++
		}
	}
	// 7,500 are expected, with a deviation of 43.
	if first < 7_200 || first > 7_800 {
		t.Errorf("the provider with three of four shares was first %d times of %d", first, draws)
	}
}
