package mail

import (
	"mime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Encoded words are short, whole characters each, and read back as what they were.
func TestEncodedWords(t *testing.T) {
	check := func(t rapid.TB, s string) {
		words := encodedWords(s)
		for word := range strings.SplitSeq(words, " ") {
			if len(word) > maxEncodedWord || !isASCII(word) {
				t.Fatalf("%q has the word %q", s, word)
			}
			if _, err := new(mime.WordDecoder).Decode(word); err != nil {
				t.Fatalf("the word %q: %v", word, err)
			}
		}
		if got, err := new(mime.WordDecoder).DecodeHeader(words); err != nil || got != s {
			t.Fatalf("%q came back as %q, %v", s, got, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, strings.Join(strings.Fields(rapid.StringN(1, 300, 2000).Draw(t, "text")), " ")+"x")
	})
	for s, want := range map[string]string{
		"Grüße":       "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
		"日本語のお知らせ":    "=?utf-8?b?5pel5pys6Kqe44Gu44GK55+l44KJ44Gb?=",
		"=?utf-8?q?=": "=?utf-8?q?=3D=3Futf-8=3Fq=3F=3D?=",
	} {
		if got := encodedWords(s); got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	}
}

// A subject that looks encoded is what its caller wrote, not what it would mean.
func TestSubjectThatLooksEncoded(t *testing.T) {
	m := testMessage()
	m.From, m.Subject = "a@example.com", "what =?utf-8?q?=41?= means"
	raw, err := Build(m)
	if err != nil {
		t.Fatal(err)
	}
	if header, _ := parseBack(t, raw); decode(t, header.Get("Subject")) != m.Subject {
		t.Errorf("it is read as %q", decode(t, header.Get("Subject")))
	}
}
