package mail

import (
	"slices"
	"strings"
	"testing"
)

// TestAnotherParserReads has Python's email package read a mail of everything
// back, field by field, and find nothing to complain of.
func TestAnotherParserReads(t *testing.T) {
	m := testMessage()
	m.From, m.Rcpt = "Bücher & Söhne <shop@bücher.example>", "ann@example.org"
	m.To, m.ReplyTo = []string{`"Doe, Jane" <ann@example.org>`}, "Hilfe für alle <help@example.com>"
	m.Subject = strings.TrimSpace(strings.Repeat("Grüße 🎉 ", 40))
	m.Text, m.HTML = "Grüße\n.\n"+strings.Repeat("x", 3000), `<img src="cid:logo">Grüße`
	m.UnsubscribeURL = "https://post.example.com/unsubscribe/" + strings.Repeat("t", 400)
	m.Attachments = []Attachment{
		{Name: "übersicht für März.pdf", ContentType: "application/pdf", Content: []byte("%PDF\x00\xff\r\n.\r\n")},
		{Name: "logo.png", ContentType: "image/png", Content: []byte("\x89PNG"), ContentID: "logo"},
	}
	raw, err := Build(m)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Headers map[string]string
		Defects []string
		Parts   []struct {
			Type, Filename, ID string
			Content            []byte
		}
	}
	python(t, "read.py", map[string]any{"message": raw}, &got)
	if len(got.Defects) > 0 {
		t.Errorf("it complains: %q\n%s", got.Defects, raw)
	}
	for name, want := range map[string]string{
		"From": "Bücher & Söhne <shop@xn--bcher-kva.example>", "To": `"Doe, Jane" <ann@example.org>`,
		"Reply-To": "Hilfe für alle <help@example.com>", "Subject": m.Subject, "Message-ID": "<01hzy@xn--bcher-kva.example>",
		"List-Unsubscribe": "<" + m.UnsubscribeURL + ">", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
	} {
		// Of a first word that begins a line of its own Python keeps the fold's
		// space, which is the one that stands behind the colon.
		if strings.TrimPrefix(got.Headers[name], " ") != want {
			t.Errorf("%s is %q, want %q", name, got.Headers[name], want)
		}
	}
	var parts []string
	for _, p := range got.Parts {
		parts = append(parts, strings.Join([]string{p.Type, p.Filename, p.ID, strings.ReplaceAll(string(p.Content), "\r\n", "\n")}, "|"))
	}
	want := []string{
		"text/plain|||" + m.Text, "text/html|||" + m.HTML, "image/png|logo.png|<logo>|\x89PNG",
		"application/pdf|übersicht für März.pdf||%PDF\x00\xff\n.\n",
	}
	if !slices.Equal(parts, want) {
		t.Errorf("the parts are %q,\nwant %q", parts, want)
	}
}
