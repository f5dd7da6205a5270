package store

import (
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"

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
	suspects := newSuspects(p)
	for _, text := range []string{
		"ANN@example.com", "<ann@example.com>", "user:ann@example.com", "to ann@example.com.", "ann@example.com,ann@example.com",
		"hello\\nann@example.com\\nbye", "\\u003cann@example.com\\u003e", "?to=ann%40example.com&x", "%3Cann%40example.com%3E",
		"bounce+ann=example.com@list.example", "'ann@example.com'", "mailto:ann@example.com?subject=x",
		"ann=40example.com", "an=\r\nn@example.com", `"to":"an=\r\nn@exa=\nmple.com"`, "an%6E%40example%2Ecom", `"ann\u0040example.com"`, "=3Cann=40example.com=3E",
	} {
		if got := q.erase(text); strings.Contains(strings.ToLower(got), "ann") {
			t.Errorf("%q becomes %q", text, got)
		}
		if strings.Contains(text, "%6E") { // written as nobody does: found where it is read, and not looked for
			continue
		}
		if !suspects.in(text) {
			t.Errorf("%q is not suspect", text)
		}
	}
	for _, text := range []string{
		"joann@example.com", "jo.ann@example.com", "jo+ann@example.com", "jo-ann@example.com", "j\u00f6ann@example.com",
		"ann@example.com.au", "ann@example.community", "ann@example.com-x.example", "joann%40example.com", "bounce+joann=example.com@list.example",
		"jo=\r\nann@example.com", "ann@example.com=\r\n.au", "joann=40example.com", "ann=example", "ann example.com",
	} {
		if got := q.erase(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// TestQuotesInBase64: what is encoded is found wherever it begins, in any letters
// and alphabet, chosen in SQL and replaced, and what stands around it stays.
func TestQuotesInBase64(t *testing.T) {
	p, err := delivery.PersonOf("ann@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	q, err := newQuotes(p)
	if err != nil {
		t.Fatal(err)
	}
	suspects := newSuspects(p)
	encodings := []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding}
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.StringMatching(`([ -~\n]{0,40}[ <])?`).Draw(t, "before")
		after := rapid.StringMatching(`([ >][ -~\n]{0,40})?`).Draw(t, "after")
		address := ""
		for _, r := range p.Forms[0] {
			if rapid.Bool().Draw(t, "upper") {
				address += strings.ToUpper(string(r))
			} else {
				address += string(r)
			}
		}
		encoding := rapid.SampledFrom(encodings).Draw(t, "encoding")
		text := encoding.EncodeToString([]byte(before + address + after))
		if !suspects.in(text) {
			t.Errorf("%q is not suspect", text)
		}
		want := q.erase(before + address + after)
		got := q.erase(text)
		plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(got), "="))
		if err != nil || string(plain) != want {
			t.Errorf("%q becomes %q, %q: %v; want %q", text, got, plain, err, want)
		}
		if again := q.erase(got); again != got {
			t.Errorf("once more it becomes %q", again)
		}
	})
}
