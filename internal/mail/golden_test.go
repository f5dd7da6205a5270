package mail

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden mails anew")

// goldenMail is a mail, and what a reader has to find in it.
type goldenMail struct {
	change func(*Message)
	signed bool

	params    string            // of MAIL FROM
	headers   map[string]string // beside those that follow from the message as it is
	structure string
	encodings string   // of the parts, in their order
	defects   []string // that the reader sees
}

const (
	goldenID   = "0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70"
	aPicture   = "\x89PNG\r\n\x1a\n.\r\n"
	cyrillic   = "Здравствуйте, Анна!\n\nВаш заказ отправлен.\n"
	umlautName = "Überweisung für März, „endgültig“.pdf"
)

// goldenMails are what testdata/golden shows, each as a server took it;
// go test -run GoldenMails -update ./internal/mail writes them anew.
var goldenMails = map[string]goldenMail{
	"plain": {
		change:    func(*Message) {},
		structure: "text/plain", encodings: "7bit",
	},
	"text-and-html": {
		change: func(m *Message) {
			m.Text, m.HTML = "Grüße aus Köln\n.\n", "<p>Grüße aus Köln</p>\n"
		},
		structure: "multipart/alternative(text/plain, text/html)", encodings: "quoted-printable quoted-printable",
	},
	"long-lines": {
		change: func(m *Message) {
			m.Text = strings.Repeat("x", 3000) + "\n" + strings.Repeat(".", 200) + "\nFrom here on\nwhite space \t \n"
			m.HTML = "<p>" + strings.Repeat("ж", 2000) + "</p>"
			m.Subject = strings.TrimSpace(strings.Repeat("a rather long subject, ", 30))
			m.Headers = map[string]string{"X-Long": strings.Repeat("y", 900)}
		},
		headers:   map[string]string{"X-Long": strings.Repeat("y", 900)},
		structure: "multipart/alternative(text/plain, text/html)", encodings: "quoted-printable base64",
	},
	"unicode-headers": {
		change: func(m *Message) {
			m.From, m.ReplyTo = "Bücher & Söhne <shop@example.com>", "Hilfe für alle <help@example.com>"
			m.Subject = "Grüße 🎉 zum Fest, und ein langes Leben; =?utf-8?q?x?= bleibt, wie es ist: " + strings.TrimSpace(strings.Repeat("🎉 ", 30))
			m.Headers = map[string]string{"X-Absender": "日本語のお知らせ、長い件名、長い件名、長い件名、長い件名、長い件名"}
		},
		headers: map[string]string{
			"From": "Bücher & Söhne <shop@example.com>", "Reply-To": "Hilfe für alle <help@example.com>",
			"X-Absender": "日本語のお知らせ、長い件名、長い件名、長い件名、長い件名、長い件名",
		},
		structure: "text/plain", encodings: "7bit",
	},
	"address-smtputf8": {
		change: func(m *Message) {
			m.Rcpt, m.To = "ünal@bücher.example", []string{"Ünal <ünal@bücher.example>"}
		},
		params:  "BODY=8BITMIME SMTPUTF8",
		headers: map[string]string{"To": "Ünal <ünal@xn--bcher-kva.example>"},
		// It reads it all the same, and does not know RFC 6532.
		defects:   []string{"To: Non-ASCII characters found in header token", "To: local-part contains non-ASCII characters)"},
		structure: "text/plain", encodings: "7bit",
	},
	"address-ascii": {
		change: func(m *Message) {
			m.Rcpt, m.To = "unal@bücher.example", []string{"Ünal <unal@bücher.example>"}
		},
		headers:   map[string]string{"To": "Ünal <unal@xn--bcher-kva.example>"},
		structure: "text/plain", encodings: "7bit",
	},
	"sender-idn": {
		change: func(m *Message) { m.From = "Bücher <shop@bücher.example>" },
		headers: map[string]string{
			"From": "Bücher <shop@xn--bcher-kva.example>", "Message-ID": "<" + goldenID + "@xn--bcher-kva.example>",
		},
		structure: "text/plain", encodings: "7bit",
	},
	"attachments": {
		change: func(m *Message) {
			m.Attachments = []Attachment{
				{Name: umlautName, ContentType: "application/pdf", Content: bytes.Repeat([]byte("%PDF\x00\xff\r\n.\r\n"), 40)},
				{Name: "日本語.txt", ContentType: "text/plain; charset=utf-8", Content: []byte("お知らせ\n")},
				{Name: `a "quoted" name; and more.csv`, ContentType: "text/csv; header=present", Content: []byte("a,b\n")},
				{Name: "empty"},
			}
		},
		structure: "multipart/mixed(text/plain, application/pdf, text/plain, text/csv, application/octet-stream)", encodings: "7bit base64 base64 base64 base64",
	},
	"inline-image": {
		change: func(m *Message) {
			m.HTML = `<p><img src="cid:logo@shop" alt="Logo"> Hello</p>`
			m.Attachments = []Attachment{
				{Name: "terms.txt", ContentType: "text/plain", Content: []byte("be kind\n")},
				{Name: "logo.png", ContentType: "image/png", Content: []byte(aPicture), ContentID: "logo@shop"},
			}
		},
		structure: "multipart/mixed(multipart/related(multipart/alternative(text/plain, text/html), image/png), text/plain)",
		encodings: "7bit 7bit base64 base64",
	},
	"cyrillic": {
		change: func(m *Message) {
			m.Text, m.Subject = cyrillic, "Ваш заказ отправлен"
		},
		structure: "text/plain", encodings: "base64",
	},
	"cc-and-reply-to": {
		change: func(m *Message) {
			m.To = []string{`"Doe, Jane" <jane@example.org>`, "user@example.org"}
			m.Cc = []string{"Ünal <u@example.org>", "other@example.org"}
			m.ReplyTo = "help@example.com"
		},
		headers: map[string]string{
			"To": `"Doe, Jane" <jane@example.org>, user@example.org`, "Cc": "Ünal <u@example.org>, other@example.org", "Reply-To": "help@example.com",
		},
		structure: "text/plain", encodings: "7bit",
	},
	"bulk": {
		change: func(m *Message) {
			m.Category, m.UnsubscribeURL = "news", goldenLink("news")
			m.Headers = map[string]string{"Precedence": "bulk", "List-ID": "News <news.example.com>"}
		},
		headers: map[string]string{
			"List-Unsubscribe": "<" + goldenLink("news") + ">", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
			"Precedence": "bulk", "List-ID": "News <news.example.com>",
		},
		structure: "text/plain", encodings: "7bit",
	},
	"template-signed": {
		change: func(m *Message) {
			m.Category, m.UnsubscribeURL = "news", goldenLink("news")
			made := rendered("newsletter", `{"name":"Änne"}`, m.UnsubscribeURL)
			m.Subject, m.Text, m.HTML = made.Subject, made.Text, made.HTML
		},
		signed: true,
		headers: map[string]string{
			"List-Unsubscribe": "<" + goldenLink("news") + ">", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		},
		structure: "multipart/alternative(text/plain, text/html)", encodings: "quoted-printable quoted-printable",
	},
}

func goldenLink(category string) string {
	return NewLinks("https://post.example.com", testSecret, Categories{}).Of("user@example.org", category, goldenID)
}

// rendered is a mail of a template in testdata.
func rendered(name, data, link string) template.Mail {
	l, err := template.NewLibrary(template.Options{Config: template.Config{Dir: "testdata/templates"}, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		panic(err)
	}
	t, err := l.Find(name)
	if err != nil {
		panic(err)
	}
	_, m, err := t.Render(context.Background(), "", []byte(data), link)
	if err != nil {
		panic(err)
	}
	return m
}

// TestGoldenMails sends mails of all shapes. What the server took is, byte for
// byte, the file in testdata; Python's email package finds in it what was asked
// for; and dkimpy finds the signatures good.
func TestGoldenMails(t *testing.T) {
	srv := testkit.NewSMTP(t, testkit.SMTPExtension("SMTPUTF8", "PIPELINING")) // beside 8BITMIME
	sender := newSender(t, srv, patience)
	keys := loaded(t, "example.com:2026a:"+keyFile(t, ed25519Key(t))+", example.com:2026b:"+keyFile(t, rsaKey()))
	for name, golden := range goldenMails {
		t.Run(name, func(t *testing.T) {
			m := testMessage()
			m.ID, m.From = goldenID, "Shop <shop@example.com>"
			m.Date = time.Date(2026, 3, 1, 12, 30, 0, 0, time.FixedZone("", 3600))
			golden.change(&m)
			sender.keys = Keys{}
			if golden.signed {
				sender.keys = keys
			}
			if _, err := sender.Send(testContext(t), m, nil); err != nil {
				t.Fatal(err)
			}
			mails := srv.Mails()
			got := mails[len(mails)-1]
			if got.MailParams != golden.params {
				t.Errorf("MAIL FROM has the parameters %q, want %q", got.MailParams, golden.params)
			}
			if err := checkLines(got.Data); err != nil {
				t.Error(err)
			}
			compareGolden(t, name+".eml", got.Data)
			readGolden(t, golden, m, got.Data)
			signatures := verify(t, got.Data, publish(keys))
			if golden.signed != (len(signatures) == 2) {
				t.Errorf("the signatures are %+v", signatures)
			}
			for _, s := range signatures {
				if !s.Valid || !strings.Contains(s.Headers, "List-Unsubscribe:List-Unsubscribe-Post") {
					t.Errorf("a signature is %+v", s)
				}
			}
		})
	}
}

// What is another one in each signature: when it was made, and with which key.
var (
	signatureHeader = regexp.MustCompile(`(?m)^DKIM-Signature: .*\r\n(?:[ \t].*\r\n)*`)
	signedWhen      = regexp.MustCompile(`\bt=\d+`)
	signedHow       = regexp.MustCompile(`(\s)b=[A-Za-z0-9+/=\s]+`)
)

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	got = signatureHeader.ReplaceAllFunc(got, func(s []byte) []byte {
		s = signedWhen.ReplaceAll(s, []byte("t=…"))
		return signedHow.ReplaceAll(s, []byte("${1}b=…\r\n"))
	})
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from its golden file; it is\n%s", name, got)
	}
}

// readGolden has Python read the mail.
func readGolden(t *testing.T, golden goldenMail, m Message, data []byte) {
	t.Helper()
	var got readBack
	python(t, "read.py", map[string]any{"message": data}, &got)
	if slices.Sort(got.Defects); !slices.Equal(got.Defects, golden.defects) {
		t.Errorf("it complains: %q", got.Defects)
	}
	want := map[string]string{
		"Subject": m.Subject, "Message-ID": "<" + goldenID + "@example.com>", "Date": "Sun, 01 Mar 2026 12:30:00 +0100", "MIME-Version": "1.0",
		"From": "Shop <shop@example.com>", "To": "user@example.org", "Cc": "", "Reply-To": "", "List-Unsubscribe": "",
	}
	for name, text := range golden.headers {
		want[name] = text
	}
	for name, text := range want {
		// Of a first word that begins a line of its own this Python keeps the
		// fold's space, which is the one that stands behind the colon.
		if got := strings.TrimPrefix(got.Headers[name], " "); got != text {
			t.Errorf("%s is read as %q, want %q", name, got, text)
		}
	}
	if got.Structure != golden.structure {
		t.Errorf("it consists of %s, want %s", got.Structure, golden.structure)
	}
	var encodings []string
	for _, p := range got.Parts {
		encodings = append(encodings, p.Encoding)
	}
	if got := strings.Join(encodings, " "); got != golden.encodings {
		t.Errorf("the parts are sent as %s, want %s", got, golden.encodings)
	}
	if want := partsOf(m); !slices.Equal(got.content(), want) {
		t.Errorf("the parts are read as %q,\nwant %q", got.content(), want)
	}
}

// partsOf are the parts that a reader of the message has to find.
func partsOf(m Message) []string {
	var out []string
	text := func(kind, s string) {
		if s = strings.TrimSuffix(strings.ReplaceAll(s, "\r\n", "\n"), "\n"); s != "" {
			out = append(out, kind+"|||"+s)
		}
	}
	text("text/plain", m.Text)
	text("text/html", m.HTML)
	file := func(a Attachment, disposition string) {
		kind, _, _ := strings.Cut(orDefault(a.ContentType, "application/octet-stream"), ";")
		out = append(out, strings.Join([]string{kind, disposition + " " + a.Name, a.ContentID, string(a.Content)}, "|"))
	}
	for _, a := range m.Attachments {
		if a.ContentID != "" {
			file(a, "inline")
		}
	}
	for _, a := range m.Attachments {
		if a.ContentID == "" {
			file(a, "attachment")
		}
	}
	return out
}
