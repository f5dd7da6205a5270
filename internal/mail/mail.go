// Package mail renders a message, builds it and hands it to an SMTP server, one
// recipient and one conversation at a time, and says exactly what became of it.
//
// Everything that can fail without the server fails before the connection is
// made. A failure is always an [*Error] whose Kind tells whether the server may
// have the message: only Ambiguous leaves that open.
package mail

import "time"

// Message is one mail to one recipient. Text fields are UTF-8; control
// characters in anything that becomes a header are refused, which is what makes
// header injection impossible.
type Message struct {
	ID   string    // the job's id: letters, digits and ._~-, at most 128; makes the Message-ID
	Date time.Time // the Date header; zero means now

	// Category is what providers may be chosen by; it is not shown.
	Category string

	// Avoid names providers that are tried after all others.
	Avoid []string

	// Sink has it built and checked, and then dropped: see [SinkProvider].
	Sink bool

	From string // RFC 5322 mailbox; header and envelope; empty means the Sender's
	Rcpt string // the one envelope recipient

	To, Cc  []string // mailboxes to show in the headers; both empty: Rcpt is shown in To
	ReplyTo string   // optional mailbox
	Subject string

	Text, HTML string // either or both; both make multipart/alternative

	// UnsubscribeURL makes List-Unsubscribe and List-Unsubscribe-Post (RFC 8058),
	// unless Headers holds the first already. See Links.
	UnsubscribeURL string

	Headers     map[string]string // further headers; those that Build writes itself are refused
	Attachments []Attachment
}

// Attachment is a file of a message.
type Attachment struct {
	Name        string // at most 255 bytes, no slash, backslash or control character
	ContentType string // a media type other than multipart/* and message/*; empty: application/octet-stream
	Content     []byte
	// ContentID, when given, makes it a part of the HTML, which shows it as
	// cid:ContentID (RFC 2392): letters, digits and ._+@-, at most 127, each once
	// in a message that has HTML.
	ContentID string
}

// Receipt is the server's word that it has taken responsibility for a message
// (RFC 5321 §4.2.5: a 2xx reply to the final dot).
type Receipt struct {
	Code      int    // 250, as a rule
	Reply     string // the reply's text: printable, at most 512 bytes
	MessageID string // as in the header, with its angle brackets
	Provider  string // its name in SMTP_URL
	Host      string // host:port of the server
}
