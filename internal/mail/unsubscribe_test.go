package mail

import (
	"strings"
	"testing"
)

const otherSecret = Secret("another-secret-of-more-than-thirty-two-characters")

func TestLinks(t *testing.T) {
	c := Categories{Names: []string{"security"}}
	links := NewLinks("https://post.example.com/", testSecret, c)
	url := links.Of("Ann <ANN@Bücher.example>", "news", "0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70")
	token, ours := strings.CutPrefix(url, "https://post.example.com/unsubscribe/")
	if !ours || strings.Contains(url, "ann@") || len(url) > 600 {
		t.Fatalf("the link is %s", url)
	}
	want := Subscription{"ann@xn--bcher-kva.example", "news", "0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70"}
	if got, ok := links.Read(token); !ok || got != want {
		t.Errorf("it says %+v, %v", got, ok)
	}
	for _, essential := range []string{"", "security"} {
		if got := links.Of("ann@example.com", essential, "id"); got != "" {
			t.Errorf("the category %q has the link %s", essential, got)
		}
	}
	for _, none := range []*Links{nil, NewLinks("", testSecret, c), NewLinks("https://a.example", "", c)} {
		if got := none.Of("ann@example.com", "news", "id"); got != "" {
			t.Errorf("there is a link: %s", got)
		}
	}
	body, signature, _ := strings.Cut(token, ".")
	other, _, _ := strings.Cut(strings.TrimPrefix(links.Of("bob@example.com", "news", "id"), "https://post.example.com/unsubscribe/"), ".")
	for _, forged := range []string{"", ".", body, body + ".", other + "." + signature, body + "." + strings.Repeat("A", 22), "x" + token, token + "x", strings.ToUpper(token)} {
		if got, ok := links.Read(forged); ok {
			t.Errorf("%q is taken for %+v", forged, got)
		}
	}
}

// TestSecretsChange: what is out there outlives a change of secrets, and not the
// removal of the old one.
func TestSecretsChange(t *testing.T) {
	c := Categories{}
	token := func(s Secret) string {
		return strings.TrimPrefix(NewLinks("https://a.example", s, c).Of("ann@example.com", "news", "id"), "https://a.example/unsubscribe/")
	}
	both := otherSecret + "," + testSecret
	if _, ok := NewLinks("https://a.example", both, c).Read(token(testSecret)); !ok {
		t.Error("a link of the old secret is unknown")
	}
	if _, ok := NewLinks("https://a.example", otherSecret, c).Read(token(both)); !ok {
		t.Error("the first secret does not sign")
	}
	if _, ok := NewLinks("https://a.example", otherSecret, c).Read(token(testSecret)); ok {
		t.Error("a link of a secret that is gone is known")
	}
	old := NewReturnPaths(Config{BounceDomain: "b.example.com", Secret: testSecret})
	if _, ok := NewReturnPaths(Config{BounceDomain: "b.example.com", Secret: both}).MessageID(old.Of("01hzy")); !ok {
		t.Error("a return path of the old secret is unknown")
	}
	if err := Secret(string(testSecret) + ",short").Validate(); err == nil {
		t.Error("a short second secret is taken")
	}
}

func TestUnsubscribeHeaders(t *testing.T) {
	link := "https://post.example.com/unsubscribe/" + strings.Repeat("t", 500)
	m := testMessage()
	m.From, m.UnsubscribeURL = "a@example.com", link
	raw, err := Build(m)
	if err != nil {
		t.Fatal(err)
	}
	header, _ := parseBack(t, raw)
	if header.Get("List-Unsubscribe") != "<"+link+">" || header.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" {
		t.Errorf("the headers are %v", header)
	}
	m.Headers = map[string]string{"list-unsubscribe": "<mailto:out@example.com>"}
	if raw, err = Build(m); err != nil {
		t.Fatal(err)
	}
	if header, _ = parseBack(t, raw); header.Get("List-Unsubscribe") != "<mailto:out@example.com>" || header.Get("List-Unsubscribe-Post") != "" {
		t.Errorf("the caller's own: %v", header)
	}
}
