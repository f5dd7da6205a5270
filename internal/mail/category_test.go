package mail_test

import (
	"testing"

	"github.com/postrider/postrider/internal/mail"
)

func TestEssential(t *testing.T) {
	c := mail.Categories{Names: []string{"password-reset"}}
	for category, want := range map[string]bool{"": true, "password-reset": true, "news": false} {
		if got := c.Essential(category); got != want {
			t.Errorf("%q essential: %v", category, got)
		}
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if err := (mail.Categories{Names: []string{"news", "Big News"}}).Validate(); err == nil {
		t.Error("a bad name is taken")
	}
}

func TestNormalise(t *testing.T) {
	for given, want := range map[string]string{
		"Ann <Ann@Example.COM>":  "ann@example.com",
		"ann@BÜCHER.example":     "ann@xn--bcher-kva.example",
		"ÄNNE@example.com":       "änne@example.com",
		"two words@example.com":  "",
		"ann@example.com, b@c.d": "",
	} {
		got, err := mail.Normalise(given)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", given, got, err, want)
		}
	}
}

func TestProduct(t *testing.T) {
	for from, want := range map[string]string{
		"Our Shop <post@example.com>": "Our Shop",
		"post@example.com":            "example.com",
		"nobody":                      "",
	} {
		if got := (mail.Config{From: from}).Product(); got != want {
			t.Errorf("%q is known as %q, want %q", from, got, want)
		}
	}
}
