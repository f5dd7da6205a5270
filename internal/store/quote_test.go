package store

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/delivery"
)

func TestQuotes(t *testing.T) {
	p, err := delivery.PersonOf("ann@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	q, err := newQuotes(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"ANN@example.com", "<ann@example.com>", "user:ann@example.com", "to ann@example.com.", "ann@example.com,ann@example.com",
		"hello\\nann@example.com\\nbye", "\\u003cann@example.com\\u003e", "?to=ann%40example.com&x", "%3Cann%40example.com%3E",
		"bounce+ann=example.com@list.example", "'ann@example.com'", "mailto:ann@example.com?subject=x",
	} {
		if got := q.erase(text); strings.Contains(strings.ToLower(got), "ann") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	for _, text := range []string{
		"joann@example.com", "jo.ann@example.com", "jo+ann@example.com", "jo-ann@example.com", "j\u00f6ann@example.com",
		"ann@example.com.au", "ann@example.community", "ann@example.com-x.example", "joann%40example.com", "bounce+joann=example.com@list.example",
	} {
		if got := q.erase(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
