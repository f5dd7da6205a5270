package tasks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/tasks"
)

func ExampleEmailSend() {
	payload, recipient, err := tasks.EmailSend.Canonical([]byte(
		`{"to": ["Ann Lee <Ann.Lee@Example.ORG>"], "subject": "Welcome!", "text": "Thanks for signing up."}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(recipient)
	fmt.Println(string(payload))

	_, err = tasks.EmailSend.Decode([]byte(`{"to": ["ann"], "subject": "two\nlines"}`))
	fmt.Println(err)
	// Output:
	// ann.lee@example.org
	// {"rcpt":"Ann.Lee@example.org","to":["\"Ann Lee\" <Ann.Lee@example.org>"],"subject":"Welcome!","text":"Thanks for signing up."}
	// to[0] is not a mail address; subject must not contain line breaks or control characters; text must not be empty when there is no html either
}

// A domain has one form, in which people are counted, found and suppressed.
func TestEmailDomainInASCII(t *testing.T) {
	for _, to := range []string{"ann@BÜCHER.example", "ann@xn--bcher-kva.example", "Ann <ann@bücher.example>", "ann@bu\u0308cher.example"} {
		e := email(func(e *tasks.Email) { e.To = []string{to} })
		if err := e.Validate(); err != nil || e.Recipient() != "ann@xn--bcher-kva.example" {
			t.Errorf("%q is for %q, %v", to, e.Recipient(), err)
		}
	}
}

// badFields names the fields that an error tells of.
func badFields(t *testing.T, err error) []string {
	t.Helper()
	var bad tasks.Invalid
	if err != nil && !errors.As(err, &bad) {
		t.Fatalf("the error %v (%T) is no Invalid", err, err)
	}
	var out []string
	for _, f := range bad {
		if f.Problem == "" {
			t.Errorf("field %s is bad for no reason", f.Field)
		}
		out = append(out, f.Field)
	}
	slices.Sort(out)
	return out
}

func email(with func(*tasks.Email)) tasks.Email {
	e := tasks.Email{To: []string{"ann@example.org"}, Subject: "Hi", Text: "there"}
	with(&e)
	return e
}

func TestEmailNamesEachBadField(t *testing.T) {
	file := func(f tasks.Attachment) func(*tasks.Email) {
		return func(e *tasks.Email) { e.Attachments = []tasks.Attachment{f} }
	}
	header := func(name, value string) func(*tasks.Email) {
		return func(e *tasks.Email) { e.Headers = map[string]string{name: value} }
	}
	subject := func(s string) func(*tasks.Email) { return func(e *tasks.Email) { e.Subject = s } }
	category := func(s string) func(*tasks.Email) { return func(e *tasks.Email) { e.Category = s } }
	for _, c := range []struct {
		name string
		with func(*tasks.Email)
		want []string
	}{
		{"good", func(*tasks.Email) {}, nil},
		{"html alone", func(e *tasks.Email) { e.Text, e.HTML = "", "<p>there" }, nil},
		{"no recipient", func(e *tasks.Email) { e.To = nil }, []string{"rcpt", "to"}},
		{"bad recipient", func(e *tasks.Email) { e.To = []string{"ann@"} }, []string{"to[0]"}},
		{"two recipients, none chosen", func(e *tasks.Email) { e.To = append(e.To, "bob@example.org") }, []string{"rcpt"}},
		{"two recipients, one chosen", func(e *tasks.Email) { e.To, e.Rcpt = append(e.To, "bob@example.org"), "bob@example.org" }, nil},
		{"too many recipients", func(e *tasks.Email) { e.Cc = slices.Repeat(e.To, tasks.MaxRecipients) }, []string{"to"}},
		{"domain as only the DNS has it", func(e *tasks.Email) { e.To = []string{"ann@a_b--c.example"} }, nil},
		{"bad domain", func(e *tasks.Email) { e.To = []string{"ann@-bü.example"} }, []string{"to[0]"}},
		{"bad cc", func(e *tasks.Email) { e.Cc, e.Rcpt = []string{"bob@example.org", "x"}, "bob@example.org" }, []string{"cc[1]"}},
		{"bad rcpt", func(e *tasks.Email) { e.Rcpt = "x" }, []string{"rcpt"}},
		{"bad reply_to", func(e *tasks.Email) { e.ReplyTo = "x\r\nBcc: y@example.org" }, []string{"reply_to"}},
		{"no subject", subject(" \t"), []string{"subject"}},
		{"long subject", subject(strings.Repeat("x", tasks.MaxSubject+1)), []string{"subject"}},
		{"subject of two lines", subject("a\r\nBcc: x@example.org"), []string{"subject"}},
		{"subject with NUL", subject("a\x00"), []string{"subject"}},
		{"subject with a line separator", subject("a\u2028b"), []string{"subject"}},
		{"subject with broken UTF-8", subject("a\xff"), []string{"subject"}},
		{"foreign subject", subject("Grüße, 世界 🌍"), nil},
		{"no body", func(e *tasks.Email) { e.Text = "" }, []string{"text"}},
		{"text with NUL", func(e *tasks.Email) { e.Text = "a\x00" }, []string{"text"}},
		{"html with broken UTF-8", func(e *tasks.Email) { e.HTML = "\xff" }, []string{"html"}},
		{"category", category("order_1-x"), nil},
		{"upper-case category", category("Orders"), []string{"category"}},
		{"long category", category(strings.Repeat("x", 65)), []string{"category"}},
		{"header", header("X-Order", "1"), nil},
		{"header that is ours", header("bCC", "x@example.org"), []string{"headers.bCC"}},
		{"header of the content", header("Content-Type", "text/html"), []string{"headers.Content-Type"}},
		{"header of a resending", header("Resent-To", "x"), []string{"headers.Resent-To"}},
		{"header name with a colon", header("X-A: 1\r\nX-B", "1"), []string{"headers.X-A: 1??X-B"}},
		{"header without a name", header("", "1"), []string{"headers."}},
		{"header of two lines", header("X-A", "1\nBcc: x"), []string{"headers.X-A"}},
		{"subject of one long word", subject(strings.Repeat("x", 901)), []string{"subject"}},
		{"header of one long word", header("X-A", strings.Repeat("x", 901)), []string{"headers.X-A"}},
		{"header of long words to be encoded", header("X-A", strings.Repeat("ü", 901)), nil},
		{"file of a long type", file(tasks.Attachment{Name: "a", ContentType: "text/plain; x=" + strings.Repeat("x", 255), Content: []byte("x")}), []string{"attachments[0].content_type"}},
		{"long header", header("X-A", strings.Repeat("x", 2001)), []string{"headers.X-A"}},
		{"too many headers", func(e *tasks.Email) {
			e.Headers = map[string]string{}
			for i := range tasks.MaxHeaders + 1 {
				e.Headers[fmt.Sprint("X-", i)] = "1"
			}
		}, []string{"headers"}},
		{"file", file(tasks.Attachment{Name: "a.pdf", Content: []byte("%PDF")}), nil},
		{"file without a name", file(tasks.Attachment{Content: []byte("x")}), []string{"attachments[0].name"}},
		{"file with a path", file(tasks.Attachment{Name: "../a", Content: []byte("x")}), []string{"attachments[0].name"}},
		{"file with a line break", file(tasks.Attachment{Name: "a\r\nb", Content: []byte("x")}), []string{"attachments[0].name"}},
		{"empty file", file(tasks.Attachment{Name: "a"}), []string{"attachments[0].content"}},
		{"file of a bad type", file(tasks.Attachment{Name: "a", ContentType: "pdf", Content: []byte("x")}), []string{"attachments[0].content_type"}},
		{"file that is a mail", file(tasks.Attachment{Name: "a", ContentType: "message/rfc822", Content: []byte("x")}), []string{"attachments[0].content_type"}},
		{"too many files", func(e *tasks.Email) {
			e.Attachments = slices.Repeat([]tasks.Attachment{{Name: "a", Content: []byte("x")}}, tasks.MaxAttachments+1)
		}, []string{"attachments"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := email(c.with)
			if got := badFields(t, e.Validate()); !slices.Equal(got, c.want) {
				t.Errorf("bad are %q, want %q", got, c.want)
			}
		})
	}
}

func TestHeaderThatStandsTwice(t *testing.T) {
	e := email(func(e *tasks.Email) { e.Headers = map[string]string{"X-Tag": "1", "x-tag": "2"} })
	if got := badFields(t, e.Validate()); len(got) != 1 {
		t.Errorf("bad are %q, want one of the two", got)
	}
}

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{ // bare; empty for refused
		"ann@example.org":                         "ann@example.org",
		"  ann@example.org ":                      "ann@example.org",
		"Ann.Lee@EXAMPLE.org":                     "Ann.Lee@example.org",
		"Ann Lee <ann@example.org>":               "ann@example.org",
		`"Lee, Ann" <ann@example.org>`:            "ann@example.org",
		"Änne <aenne@example.org>":                "aenne@example.org",
		"ann+tag@mail.example.org":                "ann+tag@mail.example.org",
		strings.Repeat("x", 64) + "@example.org":  strings.Repeat("x", 64) + "@example.org",
		strings.Repeat("x", 65) + "@example.org":  "",
		"a@" + strings.Repeat("x", 300) + ".org":  "",
		"":                                        "",
		"ann":                                     "",
		"@example.org":                            "",
		"ann@":                                    "",
		"ann@example..org":                        "",
		"ann@.example.org":                        "",
		"ann@example.org, bob@example.org":        "",
		"ann@example.org\r\nBcc: bob@example.org": "",
		"ann@example.org\x00":                     "",
		"\"a\r\nb\" <ann@example.org>":            "",
		`"a b"@example.org`:                       "",
		`"a@b"@example.org`:                       "",
		`"a,b"@example.org`:                       "",
		`"<>"@example.org`:                        "",
		`"ann"@example.org`:                       "ann@example.org",
		"ann@exam\xffple.org":                     "",
		"Group: ann@example.org;":                 "ann@example.org", // RFC 5322 section 3.4, of one
		strings.Repeat("x", 600):                  "",
	} {
		e := email(func(e *tasks.Email) { e.To = []string{given} })
		err := e.Validate()
		if (err == nil) != (want != "") || err == nil && e.Rcpt != want {
			t.Errorf("%.80q is read as %q, %v; want %q", given, e.Rcpt, err, want)
		}
	}
}

func TestCanonicalIsStable(t *testing.T) {
	e := email(func(e *tasks.Email) {
		e.To, e.Rcpt = []string{"Änne Groß <aenne@Example.org>", "bob@example.org"}, "BOB@Example.Org"
		e.Attachments = []tasks.Attachment{{Name: "a", Content: []byte{0, 255}}}
	})
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	first, recipient, err := tasks.EmailSend.Canonical(raw)
	if err != nil {
		t.Fatal(err)
	}
	if recipient != "bob@example.org" {
		t.Errorf("the recipient is %q", recipient)
	}
	second, _, err := tasks.EmailSend.Canonical(first)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("once more it is %s, %v; the first time %s", second, err, first)
	}
}

// FuzzEmailDecode proves that what is accepted cannot break out of a header:
// nothing that goes into one has a control character, and the recipient is an
// address.
func FuzzEmailDecode(f *testing.F) {
	for _, s := range []string{
		`{"to":["ann@example.org"],"subject":"Hi","text":"there"}`,
		`{"to":["Ann <ann@example.org>","b@example.org"],"cc":["c@example.org"],"rcpt":"b@example.org","subject":"ü","html":"<p>","headers":{"X-A":"1"},"category":"a"}`,
		`{"to":["a@b.c\r\nBcc: d@e.f"],"subject":"a\u0000\r\nb","text":"x","reply_to":"\"a\\\r\n\" <a@b.c>"}`,
		`{"to":["a@b.c"],"subject":"s","text":"x","attachments":[{"name":"a\"b","content_type":"text/plain; x=\"\\\r\n\"","content":"eA=="}]}`,
		`null`, ``, `[]`, `{"to":["\"a\\\u000a\"@b.c"],"subject":"s","text":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := tasks.EmailSend.Decode(raw)
		if err != nil {
			badFields(t, err)
			return
		}
		if a, err := mail.ParseAddress(e.Rcpt); err != nil || a.Address != e.Rcpt && !strings.Contains(e.Rcpt, `"`) {
			t.Errorf("the recipient %q is no address: %v", e.Rcpt, err)
		}
		bound := slices.Concat(e.To, e.Cc, []string{e.Rcpt, e.ReplyTo, e.Subject, e.Category, e.Recipient()})
		for name, value := range e.Headers {
			bound = append(bound, name, value)
		}
		for _, a := range e.Attachments {
			bound = append(bound, a.Name, a.ContentType)
		}
		for _, s := range bound {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("%q would reach a header", s)
			}
		}
		for _, s := range slices.Concat(e.To, e.Cc) {
			if _, err := mail.ParseAddress(s); err != nil {
				t.Errorf("the header address %q does not parse: %v", s, err)
			}
		}
		first, _, err := tasks.EmailSend.Canonical(raw)
		if err != nil {
			return // larger than a payload may be
		}
		if second, _, err := tasks.EmailSend.Canonical(first); err != nil || !bytes.Equal(first, second) {
			t.Errorf("canonical once more it is %s, %v; the first time %s", second, err, first)
		}
	})
}
