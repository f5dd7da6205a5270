package mail

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// Files are encoded in lines of 76 characters, whatever their size, and as long as
// they are said to be.
func TestBase64(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 56, 57, 58, 114, linesAtOnce*lineBytes - 1, linesAtOnce * lineBytes, linesAtOnce*lineBytes + 1, 100_000} {
		file := bytes.Repeat([]byte("\x00\xff."), n/3+1)[:n]
		var out bytes.Buffer
		if err := writeBase64(&out, file); err != nil {
			t.Fatal(err)
		}
		if out.Len() != base64Size(n) {
			t.Errorf("%d bytes become %d characters, and %d were announced", n, out.Len(), base64Size(n))
		}
		if bytes.HasSuffix(out.Bytes(), []byte(crlf)) {
			t.Errorf("%d bytes end in an empty line", n)
		}
		lines := strings.Split(out.String(), crlf)
		for i, line := range lines {
			if len(line) > lineChars || len(line) < lineChars && i < len(lines)-1 {
				t.Errorf("%d bytes have a line of %d characters", n, len(line))
			}
		}
		if back, err := base64.StdEncoding.DecodeString(strings.Join(lines, "")); err != nil || !bytes.Equal(back, file) {
			t.Errorf("%d bytes do not come back: %v", n, err)
		}
	}
}

// The encoding is chosen by the text.
func TestEncodingOfText(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "7bit",
		"Hello,\n\tAnn.\r\n.\n":      "7bit",
		strings.Repeat("x", 78):      "7bit",
		strings.Repeat("x", 79):      "quoted-printable",
		"white space \nat the end":   "quoted-printable",
		"tab\t":                      "quoted-printable",
		"two\nFrom here on":          "quoted-printable",
		"what a boundary has: =_":    "quoted-printable",
		"NUL\x00":                    "quoted-printable",
		"Grüße aus Köln":             "quoted-printable",
		"Привет, Анна":               "base64",
		strings.Repeat("お知らせ\n", 99): "base64",
	} {
		if got, _ := encodeText(text); got != want {
			t.Errorf("%.20q is sent as %s, want %s", text, got, want)
		}
	}
}

// All attempts at a mail are the same bytes.
func TestBuildIsRepeatable(t *testing.T) {
	m := testMessage()
	m.From, m.HTML = "a@example.com", `<img src="cid:x">`
	m.Attachments = []Attachment{{Name: "a", Content: []byte("a")}, {Name: "x", ContentID: "x"}}
	first, err := Build(m)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Build(m); err != nil || !bytes.Equal(first, again) {
		t.Errorf("built again, %v, it is\n%s\nand was\n%s", err, again, first)
	}
	m.ID = "other"
	if other, err := Build(m); err != nil || boundary(t, other) == boundary(t, first) {
		t.Errorf("another mail has the same boundary: %v", err)
	}
}

func boundary(t *testing.T, raw []byte) string {
	t.Helper()
	_, after, found := bytes.Cut(raw, []byte(` boundary="`))
	if !found {
		t.Fatalf("there is no boundary:\n%s", raw)
	}
	b, _, _ := bytes.Cut(after, []byte(`"`))
	return string(b)
}
