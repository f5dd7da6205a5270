package testkit

import "fmt"

// SMTPVerb is a point of the conversation at which an action can be scripted.
type SMTPVerb string

// The verbs. HELO counts as EHLO, since clients fall back to it.
const (
	SMTPAtConnect  SMTPVerb = "connect" // instead of the greeting
	SMTPAtEHLO     SMTPVerb = "EHLO"
	SMTPAtStartTLS SMTPVerb = "STARTTLS"
	SMTPAtAuth     SMTPVerb = "AUTH"
	SMTPAtMail     SMTPVerb = "MAIL"
	SMTPAtRcpt     SMTPVerb = "RCPT"
	SMTPAtData     SMTPVerb = "DATA"
	SMTPAtDot      SMTPVerb = "." // the whole content and the final dot have come
	SMTPAtRset     SMTPVerb = "RSET"
	SMTPAtQuit     SMTPVerb = "QUIT"
)

// SMTPAction is what the server does instead of its honest answer.
type SMTPAction struct {
	code    int    // of a well-formed reply; 0 when there is none
	text    string // bytes to write as they are
	after   afterAction
	accepts bool
}

type afterAction int

const (
	thenServe afterAction = iota
	thenClose
	thenHang
)

// SMTPReply answers with the code; several lines make a multi-line reply. A 2xx
// reply to the dot accepts the message, 220 to STARTTLS begins TLS, 354 to DATA
// begins the content.
func SMTPReply(code int, lines ...string) SMTPAction {
	return SMTPAction{code: code, text: replyText(code, lines)}
}

// SMTPReplyAndClose answers and cuts the connection: 421, or 250 and the line
// cut after it.
func SMTPReplyAndClose(code int, lines ...string) SMTPAction {
	return SMTPAction{code: code, text: replyText(code, lines), after: thenClose}
}

// SMTPClose cuts the connection without a word.
func SMTPClose() SMTPAction { return SMTPAction{after: thenClose} }

// SMTPHang says nothing until the client leaves or the server is closed.
func SMTPHang() SMTPAction { return SMTPAction{after: thenHang} }

// SMTPReplyAndHang answers and then says nothing more: with 354 to DATA the
// content is read and never acknowledged.
func SMTPReplyAndHang(code int, lines ...string) SMTPAction {
	return SMTPAction{code: code, text: replyText(code, lines), after: thenHang}
}

// SMTPHalfReply cuts the connection within a multi-line reply.
func SMTPHalfReply(code int) SMTPAction {
	return SMTPAction{text: fmt.Sprintf("%d-first line\r\n%d", code, code), after: thenClose}
}

// SMTPGarbage answers with a line that is not SMTP.
func SMTPGarbage() SMTPAction {
	return SMTPAction{text: "\x00\x7f\xffHTTP/1.1 200 OK\r\n"}
}

// SMTPFlood writes n bytes of a reply that never ends and then hangs.
func SMTPFlood(n int) SMTPAction {
	line := "250-" + string(make([]byte, 60)) + "\r\n"
	text := make([]byte, 0, n+len(line))
	for len(text) < n {
		text = append(text, line...)
	}
	return SMTPAction{text: string(text), after: thenHang}
}

// Accepting makes the server keep the message although it does not say so with
// a 2xx reply: meaningful at the dot only.
func (a SMTPAction) Accepting() SMTPAction {
	a.accepts = true
	return a
}

func replyText(code int, lines []string) string {
	if len(lines) == 0 {
		lines = []string{"scripted"}
	}
	text := ""
	for i, line := range lines {
		separator := "-" // RFC 5321 §4.2.1: a hyphen on all lines but the last
		if i == len(lines)-1 {
			separator = " "
		}
		text += fmt.Sprintf("%d%s%s\r\n", code, separator, line)
	}
	return text
}
