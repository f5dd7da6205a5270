package mail

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// part is a leaf of a parsed message.
type part struct {
	mediaType string
	filename  string
	content   string
}

// parseBack reads a built message with the standard library.
func parseBack(t testing.TB, raw []byte) (netmail.Header, []part) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("reading back: %v\n%s", err, raw)
	}
	return m.Header, parts(t, textproto.MIMEHeader(m.Header), m.Body)
}

func parts(t testing.TB, header textproto.MIMEHeader, body io.Reader) []part {
	t.Helper()
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("Content-Type %q: %v", header.Get("Content-Type"), err)
	}
	if strings.HasPrefix(mediaType, "multipart/") {
		var leaves []part
		reader := multipart.NewReader(body, params["boundary"])
		for {
			p, err := reader.NextRawPart()
			if err == io.EOF {
				return leaves
			}
			if err != nil {
				t.Fatalf("reading a part: %v", err)
			}
			leaves = append(leaves, parts(t, p.Header, p)...)
		}
	}
	switch header.Get("Content-Transfer-Encoding") {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("decoding a part: %v", err)
	}
	leaf := part{mediaType: mediaType, content: string(content)}
	if disposition := header.Get("Content-Disposition"); disposition != "" {
		_, params, err := mime.ParseMediaType(disposition)
		if err != nil {
			t.Fatalf("Content-Disposition %q: %v", disposition, err)
		}
		leaf.filename = params["filename"]
	}
	return []part{leaf}
}

func decode(t testing.TB, s string) string {
	t.Helper()
	decoded, err := new(mime.WordDecoder).DecodeHeader(s)
	if err != nil {
		t.Fatalf("decoding %q: %v", s, err)
	}
	return decoded
}

func TestBuildEverything(t *testing.T) {
	m := Message{
		ID:      "01hzy",
		Date:    time.Date(2026, 3, 1, 12, 30, 0, 0, time.FixedZone("", 3600)),
		From:    "Bücher & Söhne <shop@bücher.example>",
		Rcpt:    "user@example.org",
		To:      []string{`"Doe, Jane" <jane@example.org>`, "user@example.org"},
		Cc:      []string{"Ünal <u@example.org>"},
		ReplyTo: "help@example.com",
		Subject: "Willkommen 🎉 bei uns",
		Text:    "Grüße\n.\nEnde",
		HTML:    "<p>Grüße</p>",
		Headers: map[string]string{"X-Campaign": "spring", "List-Unsubscribe": "<https://example.com/u?" + strings.Repeat("t", 200) + ">", "X-Leer": ""},
		Attachments: []Attachment{
			{Name: "übersicht.pdf", ContentType: "application/pdf", Content: []byte("%PDF\x00\xff\r\n.\r\n")},
			{Name: "notes.txt", ContentType: "text/plain; charset=utf-8", Content: []byte("a\nb")},
			{Name: "no type", Content: nil},
		},
	}
	raw, err := Build(m)
	if err != nil {
		t.Fatal(err)
	}
	if !isASCII(raw) {
		t.Error("not ASCII")
	}
	header, leaves := parseBack(t, raw)
	for name, want := range map[string]string{
		"Message-Id":       "<01hzy@xn--bcher-kva.example>",
		"Date":             "Sun, 01 Mar 2026 12:30:00 +0100",
		"Reply-To":         "<help@example.com>",
		"Subject":          "Willkommen 🎉 bei uns",
		"X-Campaign":       "spring",
		"X-Leer":           "",
		"List-Unsubscribe": m.Headers["List-Unsubscribe"],
		"Mime-Version":     "1.0",
		"User-Agent":       "",
		"X-Mailer":         "",
	} {
		if got := decode(t, header.Get(name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"From": `Bücher & Söhne <shop@xn--bcher-kva.example>`,
		"To":   `Doe, Jane <jane@example.org>;  <user@example.org>`,
		"Cc":   `Ünal <u@example.org>`,
	} {
		got, err := header.AddressList(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var list []string
		for _, a := range got {
			list = append(list, a.Name+" <"+a.Address+">")
		}
		if strings.Join(list, "; ") != want {
			t.Errorf("%s: got %s, want %s", name, list, want)
		}
	}
	want := []part{
		{"text/plain", "", "Grüße\r\n.\r\nEnde"},
		{"text/html", "", "<p>Grüße</p>"},
		{"application/pdf", "übersicht.pdf", "%PDF\x00\xff\r\n.\r\n"},
		{"text/plain", "notes.txt", "a\nb"},
		{"application/octet-stream", "no type", ""},
	}
	if len(leaves) != len(want) {
		t.Fatalf("got %d parts, want %d:\n%s", len(leaves), len(want), raw)
	}
	for i := range want {
		if leaves[i] != want[i] {
			t.Errorf("part %d: got %q, want %q", i, leaves[i], want[i])
		}
	}
}

func TestBuildShapes(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Message)
		top    string
	}{
		"text":                {func(m *Message) {}, "text/plain"},
		"nothing":             {func(m *Message) { m.Text = "" }, "text/plain"},
		"html":                {func(m *Message) { m.Text, m.HTML = "", "<b>" }, "text/html"},
		"both":                {func(m *Message) { m.HTML = "<b>" }, "multipart/alternative"},
		"text and attachment": {func(m *Message) { m.Attachments = []Attachment{{Name: "a"}} }, "multipart/mixed"},
	} {
		m := testMessage()
		m.From = "a@example.com"
		test.change(&m)
		raw, err := Build(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		header, _ := parseBack(t, raw)
		if got, _, _ := mime.ParseMediaType(header.Get("Content-Type")); got != test.top {
			t.Errorf("%s: got %s, want %s", name, got, test.top)
		}
		if got := header.Get("To"); got != "<user@example.org>" {
			t.Errorf("%s: To is %q", name, got)
		}
	}
}

func TestMessageIDIsStable(t *testing.T) {
	m := testMessage()
	m.From = "Shop <shop@example.com>"
	for range 3 {
		raw, err := Build(m)
		if err != nil {
			t.Fatal(err)
		}
		header, _ := parseBack(t, raw)
		if got := header.Get("Message-Id"); got != testMessageID {
			t.Errorf("got %s", got)
		}
		m.Date, m.Subject = m.Date.Add(time.Hour), m.Subject+"!"
	}
}

func TestBuildLongThings(t *testing.T) {
	for name, change := range map[string]func(*Message){
		"subject of 2000 letters":     func(m *Message) { m.Subject = strings.Repeat("ж", 2000) },
		"subject of 2000 emoji words": func(m *Message) { m.Subject = strings.TrimSpace(strings.Repeat("🎉 ", 1000)) },
		"subject of 300 words":        func(m *Message) { m.Subject = strings.TrimSpace(strings.Repeat("postrider ", 300)) },
		"text line of 5000":           func(m *Message) { m.Text = strings.Repeat("x", 5000) },
		"html line of 5000":           func(m *Message) { m.HTML = strings.Repeat("ж", 5000) },
		"text of dots":                func(m *Message) { m.Text = strings.Repeat(".\n..\n", 2000) },
		"spaces at line ends":         func(m *Message) { m.Text = strings.Repeat("x  \n\t\n", 100) },
		"name of 900 letters":         func(m *Message) { m.From = strings.Repeat("ж", 900) + " <a@example.com>" },
		"file name of 255 bytes": func(m *Message) {
			m.Attachments = []Attachment{{Name: strings.Repeat("ж", 127) + "x", Content: []byte("x")}}
		},
		"200 recipients": func(m *Message) {
			for range 200 {
				m.To = append(m.To, "Some Body <some.body@example.com>")
			}
		},
	} {
		m := testMessage()
		m.From = "a@example.com"
		change(&m)
		raw, err := Build(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := checkLines(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		header, leaves := parseBack(t, raw)
		if got := decode(t, header.Get("Subject")); got != m.Subject {
			t.Errorf("%s: subject came back as %q", name, got)
		}
		if got := strings.ReplaceAll(leaves[0].content, "\r\n", "\n"); got != m.Text {
			t.Errorf("%s: text came back as %q", name, got)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Message)
		field  string
	}{
		"no id":                      {func(m *Message) { m.ID = "" }, "id"},
		"id with a break":            {func(m *Message) { m.ID = "a\r\nBcc: b@example.com" }, "id"},
		"id with an angle":           {func(m *Message) { m.ID = "a>" }, "id"},
		"no from":                    {func(m *Message) { m.From = "" }, "from"},
		"no recipient":               {func(m *Message) { m.Rcpt = "" }, "rcpt"},
		"two recipients":             {func(m *Message) { m.Rcpt = "a@example.com, b@example.com" }, "rcpt"},
		"recipient with a break":     {func(m *Message) { m.Rcpt = "a@example.com\r\nDATA" }, "rcpt"},
		"recipient with params":      {func(m *Message) { m.Rcpt = "<a@example.com> SIZE=1" }, "rcpt"},
		"recipient with a space":     {func(m *Message) { m.Rcpt = `"a b"@example.com` }, "rcpt"},
		"recipient with a quoted \n": {func(m *Message) { m.Rcpt = "\"a\\\nb\"@example.com" }, "rcpt"},
		"no domain":                  {func(m *Message) { m.Rcpt = "user" }, "rcpt"},
		"long local part":            {func(m *Message) { m.Rcpt = strings.Repeat("a", 65) + "@example.com" }, "rcpt"},
		"bad IDN":                    {func(m *Message) { m.Rcpt = "a@xn--ü.example" }, "rcpt"},
		"to":                         {func(m *Message) { m.To = []string{"a@example.com", "b"} }, "to[1]"},
		"cc":                         {func(m *Message) { m.Cc = []string{"a@example.com\nX: y"} }, "cc[0]"},
		"name with a break":          {func(m *Message) { m.To = []string{"\"A\r\nBcc: x@example.com\" <a@example.com>"} }, "to[0]"},
		"name with an encoded break": {func(m *Message) {
			m.To = []string{"=?utf-8?q?A=0D=0ABcc:_x=40example.com?= <a@example.com>"}
		}, "to[0]"},
		"reply_to":               {func(m *Message) { m.ReplyTo = "x\r\n" }, "reply_to"},
		"subject CRLF":           {func(m *Message) { m.Subject = "a\r\nBcc: x@example.com" }, "subject"},
		"subject LF":             {func(m *Message) { m.Subject = "a\nBcc: x@example.com" }, "subject"},
		"subject CR":             {func(m *Message) { m.Subject = "a\rb" }, "subject"},
		"subject NUL":            {func(m *Message) { m.Subject = "a\x00b" }, "subject"},
		"subject not UTF-8":      {func(m *Message) { m.Subject = "\xff" }, "subject"},
		"subject a word of 1000": {func(m *Message) { m.Subject = strings.Repeat("a", 1000) }, "subject"},
		"text not UTF-8":         {func(m *Message) { m.Text = "\xff" }, "text"},
		"html not UTF-8":         {func(m *Message) { m.HTML = "\xff" }, "html"},
		"header value break":     {func(m *Message) { m.Headers = map[string]string{"X-A": "a\r\n\r\nbody"} }, "headers.X-A"},
		"header name break":      {func(m *Message) { m.Headers = map[string]string{"X-A: b\r\nX-B": "c"} }, "headers"},
		"header name colon":      {func(m *Message) { m.Headers = map[string]string{"X-A:": "c"} }, "headers"},
		"header name empty":      {func(m *Message) { m.Headers = map[string]string{"": "c"} }, "headers"},
		"header twice":           {func(m *Message) { m.Headers = map[string]string{"X-A": "1", "x-a": "2"} }, "x-a"},
		"header Bcc":             {func(m *Message) { m.Headers = map[string]string{"bCC": "x@example.com"} }, "bCC"},
		"header Content-Type":    {func(m *Message) { m.Headers = map[string]string{"Content-Type": "text/html"} }, "Content-Type"},
		"no file name":           {func(m *Message) { m.Attachments = []Attachment{{}} }, "attachments[0].name"},
		"file name break":        {func(m *Message) { m.Attachments = []Attachment{{Name: "a\"\r\nX: y"}} }, "attachments[0].name"},
		"file name path":         {func(m *Message) { m.Attachments = []Attachment{{Name: "../a"}} }, "attachments[0].name"},
		"content type break":     {func(m *Message) { m.Attachments = []Attachment{{Name: "a", ContentType: "text/plain\r\nX: y"}} }, "attachments[0].content_type"},
		"content type words":     {func(m *Message) { m.Attachments = []Attachment{{Name: "a", ContentType: "words"}} }, "attachments[0].content_type"},
		"multipart":              {func(m *Message) { m.Attachments = []Attachment{{Name: "a", ContentType: "multipart/mixed"}} }, "attachments[0].content_type"},
	} {
		m := testMessage()
		m.From = "a@example.com"
		test.change(&m)
		raw, err := Build(m)
		var e *Error
		if !errors.As(err, &e) || e.Kind != Permanent || e.Op != opBuild {
			t.Errorf("%s: got %v\n%s", name, err, raw)
			continue
		}
		if raw != nil || !strings.Contains(err.Error(), test.field) {
			t.Errorf("%s: %q is not named, or there are bytes: %v", name, test.field, err)
		}
	}
}

// TestFoldingKeepsHeadersWhole is for the folding of go-mail, which can turn
// runs of spaces before a long word into an empty line.
func TestFoldingKeepsHeadersWhole(t *testing.T) {
	for n := range 200 {
		m := testMessage()
		m.From = "a@example.com"
		m.Subject = strings.Repeat(" ", n) + strings.Repeat("x", 80) + strings.Repeat(" ", n) + "Bcc: x@example.com"
		raw, err := Build(m)
		if err != nil {
			t.Fatal(err)
		}
		header, leaves := parseBack(t, raw)
		if header.Get("Bcc") != "" || len(leaves) != 1 || !strings.HasPrefix(leaves[0].content, "Thanks") {
			t.Fatalf("%d spaces break the message:\n%s", n, raw)
		}
	}
}

func FuzzBuild(f *testing.F) {
	f.Add("id", "Shop <shop@example.com>", "user@example.org", "Hello", "text", "<p>html</p>", "X-A", "b", "a.txt", "text/plain")
	f.Add("id", "a@b", "ü@ü.example", "   x   \t y", ".\r\n.\n", "", "", "", "", "")
	f.Add("id", "=?utf-8?q?=0D=0A?= <a@b>", "\"a\\\"b\"@c", "=?utf-8?q?=0D=0A?=", "\r", "\x00", "References", strings.Repeat("<a@b> ", 50), "ü\".txt", "text/plain; charset=\"a b\"")
	f.Add("id", strings.Repeat("Name ", 40)+"<a@[127.0.0.1]>", "a@b", strings.Repeat("ж ", 400), "x", "x", "X", " ", " ", "a/b; c*=utf-8''%0D%0A")
	f.Fuzz(func(t *testing.T, id, from, rcpt, subject, text, html, name, value, file, contentType string) {
		m := Message{ID: id, From: from, Rcpt: rcpt, Cc: []string{rcpt}, Subject: subject, Text: text, HTML: html}
		if name != "" {
			m.Headers = map[string]string{name: value}
		}
		if file != "" {
			m.Attachments = []Attachment{{Name: file, ContentType: contentType, Content: []byte(text)}}
		}
		l, err := compose(m, Keys{})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind != Permanent || e.Op != opBuild {
				t.Fatalf("not a permanent build error: %v", err)
			}
			return
		}
		raw := l.content.bytes()
		if err := checkLines(raw); err != nil || int64(len(raw)) != l.content.size() {
			t.Fatal(err, len(raw), l.content.size())
		}
		if strings.ContainsAny(l.from+l.rcpt+l.messageID, "\r\n\x00 ") {
			t.Fatalf("envelope %q %q %q", l.from, l.rcpt, l.messageID)
		}
		head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		for line := range bytes.SplitSeq(head, []byte("\r\n")) {
			if len(bytes.TrimSpace(line)) == 0 {
				t.Fatalf("a header line of white space:\n%s", head)
			}
		}
		header, _ := parseBack(t, raw)
		for key, values := range header {
			if len(values) != 1 || !known(key, name) {
				t.Fatalf("header %s: %q\n%s", key, values, head)
			}
		}
	})
}

// known tells the headers that a message with the further one may have.
func known(key, further string) bool {
	switch key {
	case "From", "Cc", "Subject", "Date", "Message-Id", "Mime-Version", "Content-Type", "Content-Transfer-Encoding":
		return true
	}
	return strings.EqualFold(key, further)
}

func TestStuffed(t *testing.T) {
	for raw, want := range map[string]string{
		"a: b\r\n\r\ntext":          "a: b\r\n\r\ntext\r\n",
		"a: b\r\n\r\ntext\r\n":      "a: b\r\n\r\ntext\r\n",
		"a: b\r\n\r\n.":             "a: b\r\n\r\n..\r\n",
		".\r\n.\r\n..\r\na.b\r\n":   "..\r\n..\r\n...\r\na.b\r\n",
		"a: b\r\n\r\n\r\n.\r\n\r\n": "a: b\r\n\r\n\r\n..\r\n\r\n",
	} {
		if got := string(content{{text: []byte(raw)}}.stuffed().bytes()); got != want {
			t.Errorf("%q became %q, want %q", raw, got, want)
		}
	}
}
