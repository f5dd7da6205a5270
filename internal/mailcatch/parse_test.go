package mailcatch

import (
	"fmt"
	"strings"
	"testing"
)

const everything = `From: =?utf-8?q?B=C3=BCcher?= <shop@example.com>
To: =?iso-8859-1?q?J=FCrgen?= <user@example.org>
Subject: =?utf-8?b?R3LDvMOfZQ==?= aus =?iso-8859-15?q?K=F6ln?=
Message-ID: <1@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=mix

--mix
Content-Type: multipart/alternative; boundary="a l t"

--a l t
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe
--a l t
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHA+R3LDvMOfZTwvcD4=
--a l t--
--mix
Content-Type: text/html
Content-Disposition: attachment; filename*=utf-8''%C3%BCbel.html
Content-Transfer-Encoding: base64

PHNjcmlwdD4=
--mix
Content-Type: image/png; name="=?utf-8?q?bild_=C3=BC.png?="

PNG
--mix--
`

func TestParse(t *testing.T) {
	c := parse([]byte(everything))
	if c.trouble != "" {
		t.Errorf("trouble: %s", c.trouble)
	}
	if strings.TrimSpace(c.text) != "Grüße" || c.html != "<p>Grüße</p>" {
		t.Errorf("text %q, html %q", c.text, c.html)
	}
	if len(c.attachments) != 2 {
		t.Fatalf("got %d attachments", len(c.attachments))
	}
	for i, want := range []attachment{
		{"übel.html", "text/html", []byte("<script>")},
		{"bild ü.png", "image/png", []byte("PNG")},
	} {
		got := c.attachments[i]
		if got.name != want.name || got.contentType != want.contentType || string(got.data) != string(want.data) {
			t.Errorf("attachment %d: got %+v", i, got)
		}
	}
	if got := c.headers["Subject"]; len(got) != 1 || got[0] != "Grüße aus Köln" {
		t.Errorf("subject %q", got)
	}
	s := summarise([]byte(everything))
	if s.from != "Bücher <shop@example.com>" || s.to != "Jürgen <user@example.org>" || s.subject != "Grüße aus Köln" || s.messageID != "<1@example.com>" {
		t.Errorf("summary %+v", s)
	}
}

func TestParseOddMails(t *testing.T) {
	for name, test := range map[string]struct {
		raw     string
		text    string
		trouble bool
	}{
		"no header":          {"\n\nhello", "\nhello", false},
		"nothing":            {"", "", true},
		"no type":            {"Subject: a\n\nhello", "hello", false},
		"bad type":           {"Content-Type: ;;;\n\nhello", "hello", false},
		"unknown charset":    {"Content-Type: text/plain; charset=klingon\n\nh\xffi", "h\uFFFDi", false},
		"wrong utf-8":        {"Content-Type: text/plain; charset=utf-8\n\nh\xffi", "h\uFFFDi", false},
		"bad base64":         {"Content-Transfer-Encoding: base64\n\naGVsbG8=!!!", "hello", true},
		"cut multipart":      {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhel", "hel", true},
		"multipart, no body": {"Content-Type: multipart/mixed; boundary=b\n\n", "", true},
		"no boundary":        {"Content-Type: multipart/mixed\n\nhello", "", false},
	} {
		c := parse([]byte(test.raw))
		if c.text != test.text || (c.trouble != "") != test.trouble {
			t.Errorf("%s: text %q, trouble %q", name, c.text, c.trouble)
		}
	}
}

func TestParseIsBounded(t *testing.T) {
	var deep strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	parse([]byte(deep.String())) // returns, and does not exhaust the stack
	many := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 10*maxParts) + "--b--\n"
	if c := parse([]byte(many)); len(c.attachments) > maxParts || c.trouble == "" {
		t.Errorf("got %d attachments, trouble %q", len(c.attachments), c.trouble)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(simple("x")))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-16\r\n\r\n\x00<"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		summarise(raw)
		parse(raw)
	})
}
