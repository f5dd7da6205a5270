package tasks

import (
	"encoding/json"
	"fmt"
	"net/textproto"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// EmailSend sends one mail to one recipient. A mail that may have gone out is
// sent again: its Message-ID stays the same, and a password reset that comes
// twice is better than one that never comes.
var EmailSend = Define[Email](Type{
	Name:        "email:send",
	Queue:       "email",
	Deadline:    30 * time.Second,
	MaxAttempts: 12,
	// 10 s doubling up to an hour: twelve attempts span about six hours, over
	// which a greylisting or overloaded server has had its time.
	Backoff:     Backoff{Base: 10 * time.Second, Max: time.Hour, Jitter: 0.2},
	OnAmbiguous: Resend,
})

// Bounds of a mail.
const (
	MaxRecipients  = 100  // to and cc together, of one request
	MaxSubject     = 2000 // bytes
	MaxHeaders     = 50
	MaxAttachments = 20
)

// Email is the payload of EmailSend.
type Email struct {
	// Rcpt is the one envelope recipient; when empty, To must have one
	// address and it is that.
	Rcpt string `json:"rcpt,omitempty"`
	// To and Cc are what the headers of that name show.
	To []string `json:"to"`
	Cc []string `json:"cc,omitempty"`

	ReplyTo string `json:"reply_to,omitempty"`
	Subject string `json:"subject,omitempty"` // with a template, instead of the template's
	Text    string `json:"text,omitempty"`
	HTML    string `json:"html,omitempty"`

	// Template names what subject, text and HTML are rendered from, with Data,
	// an object, in the language of Locale or what comes nearest to it.
	Template string          `json:"template,omitempty"`
	Locale   string          `json:"locale,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	// TemplateHash pins the template as it was when the job was accepted, which
	// sets it, whatever the caller gave.
	TemplateHash string `json:"template_hash,omitempty"`

	Headers     map[string]string `json:"headers,omitempty"`
	Category    string            `json:"category,omitempty"`
	Urgent      bool              `json:"urgent,omitempty"` // passes the recipient's quiet hours and digests
	Attachments []Attachment      `json:"attachments,omitempty"`

	// Sink has the mail built and checked, and then dropped.
	Sink bool `json:"sink,omitempty"`
}

// Attachment is a file that a mail carries: its content, in JSON base64, or the
// id of a file that was stored before.
type Attachment struct {
	ID      string `json:"id,omitempty"` // SHA-256 of the content, in lower-case hex
	Content []byte `json:"content,omitempty"`

	Name        string `json:"name"`
	ContentType string `json:"content_type,omitempty"` // when empty the stored file's, or application/octet-stream
	// Inline says that the HTML shows the file, as cid:ContentID.
	Inline    bool   `json:"inline,omitempty"`
	ContentID string `json:"content_id,omitempty"`
}

// Recipient is the envelope recipient in lower case, its domain in ASCII.
func (e *Email) Recipient() string { return strings.ToLower(e.Rcpt) }

// BringsUnsubscribe reports whether the mail has a List-Unsubscribe or
// List-Unsubscribe-Post (RFC 8058) of its own.
func (e *Email) BringsUnsubscribe() bool {
	for name := range e.Headers {
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "List-Unsubscribe", "List-Unsubscribe-Post":
			return true
		}
	}
	return false
}

// Rehearse implements Rehearsable.
func (e *Email) Rehearse() { e.Sink = true }

// Describe implements Described.
func (e *Email) Describe() Description {
	return Description{Subject: e.Subject, Template: e.Template, Category: e.Category, Sink: e.Sink}
}

// Validate implements Payload.
func (e *Email) Validate() error {
	var bad Invalid
	e.checkAddresses(&bad)

	switch {
	case len(e.Subject) > MaxSubject:
		bad.Add("subject", fmt.Sprintf("is longer than %d bytes", MaxSubject))
	case strings.TrimSpace(e.Subject) == "" && (e.Template == "" || e.Subject != ""):
		bad.Add("subject", "must not be empty")
	case hasControl(e.Subject):
		bad.Add("subject", "must not contain line breaks or control characters")
	case hasLongWord(e.Subject):
		bad.Add("subject", longWord)
	}
	if e.Text == "" && e.HTML == "" && e.Template == "" {
		bad.Add("text", "must not be empty when there is no html either")
	}
	e.checkTemplate(&bad)
	checkBody(&bad, "text", e.Text)
	checkBody(&bad, "html", e.HTML)
	checkCategory(&bad, e.Category)
	checkHeaders(&bad, e.Headers)
	checkAttachments(&bad, e)
	return bad.OrNil()
}

func (e *Email) checkAddresses(bad *Invalid) {
	var first string
	list := func(field string, addrs []string) {
		for i, s := range addrs {
			full, bare, problem := parseAddress(s)
			if problem != "" {
				bad.Add(fmt.Sprintf("%s[%d]", field, i), problem)
				continue
			}
			addrs[i] = full
			if first == "" {
				first = bare
			}
		}
	}
	switch n := len(e.To) + len(e.Cc); {
	case len(e.To) == 0:
		bad.Add("to", "must not be empty")
	case n > MaxRecipients:
		bad.Add("to", fmt.Sprintf("and cc name %d recipients, the most is %d", n, MaxRecipients))
		return
	}
	list("to", e.To)
	list("cc", e.Cc)
	switch {
	case e.Rcpt != "":
		_, bare, problem := parseAddress(e.Rcpt)
		if problem != "" {
			bad.Add("rcpt", problem)
		}
		e.Rcpt = bare
	case len(e.To)+len(e.Cc) == 1:
		e.Rcpt = first
	default:
		bad.Add("rcpt", "must name which of the recipients this job is for")
	}
	if e.ReplyTo != "" {
		full, _, problem := parseAddress(e.ReplyTo)
		if problem != "" {
			bad.Add("reply_to", problem)
		}
		e.ReplyTo = full
	}
}

func checkBody(bad *Invalid, field, s string) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		bad.Add(field, "must be UTF-8 without NUL")
	}
}

// ValidCategory reports whether a message's category may have that name.
func ValidCategory(name string) bool { return categoryForm.MatchString(name) }

func checkCategory(bad *Invalid, name string) {
	if name != "" && !ValidCategory(name) {
		bad.Add("category", "must be up to 64 lower-case letters, digits, hyphens and underscores")
	}
}

var (
	categoryForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	// RFC 5322 section 3.6.8 allows any printable character but the colon;
	// nobody uses more than this, and some servers choke on it.
	headerForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,75}$`)
)

// reservedHeaders are written by Postrider itself, or would change what the
// mail is or where it goes.
var reservedHeaders = map[string]bool{
	"From": true, "Sender": true, "Reply-To": true, "To": true, "Cc": true, "Bcc": true,
	"Subject": true, "Date": true, "Message-Id": true, "Mime-Version": true, "Return-Path": true,
	"Received": true, "Dkim-Signature": true, "Delivered-To": true,
}

func checkHeaders(bad *Invalid, headers map[string]string) {
	if len(headers) > MaxHeaders {
		bad.Add("headers", fmt.Sprintf("has %d entries, the most is %d", len(headers), MaxHeaders))
		return
	}
	seen := make(map[string]bool, len(headers))
	for name, value := range headers {
		field := "headers." + printable(name)
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !headerForm.MatchString(name):
			bad.Add(field, "is not a header name: letters, digits and hyphens, 76 at most")
		case reservedHeaders[canonical] || strings.HasPrefix(canonical, "Content-") ||
			strings.HasPrefix(canonical, "Resent-") || strings.HasPrefix(canonical, "Arc-"):
			bad.Add(field, "is a header that Postrider writes itself")
		case seen[canonical]:
			bad.Add(field, "stands there twice")
		case hasControl(value):
			bad.Add(field, "must not contain line breaks or control characters")
		case len(value) > 2000:
			bad.Add(field, "is longer than 2000 bytes")
		case hasLongWord(value):
			bad.Add(field, longWord)
		}
		seen[canonical] = true
	}
}

// hasControl reports line breaks, other control characters and broken UTF-8:
// what must never reach a header.
func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}

// maxWord bounds a word of a header, in bytes: it and the header's name must fit
// a line of 998 (RFC 5322 section 2.1.1), which is folded at spaces only.
const maxWord = 900

const longWord = "must not have a word of more than 900 characters"

// hasLongWord looks at words of ASCII; others are encoded in pieces.
func hasLongWord(s string) bool {
	for word := range strings.SplitSeq(s, " ") {
		if len(word) > maxWord && !strings.ContainsFunc(word, notASCII) {
			return true
		}
	}
	return false
}

// printable makes a name that came from outside fit to be shown in an error.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
