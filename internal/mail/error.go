package mail

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind says what a failed Send means for the message.
type Kind string

// The kinds. With all but Ambiguous the server does not have the message.
const (
	Temporary Kind = "temporary" // a later attempt may succeed
	Permanent Kind = "permanent" // this message will never be taken
	Ambiguous Kind = "ambiguous" // the final dot was on its way and no reply was read: the server may have it
	Cancelled Kind = "cancelled" // the caller ended it, by ctx or by beforeDot; unwraps to the cause
	Deferred  Kind = "deferred"  // no server was asked: come back after Error.After, at no attempt's cost
)

// The operations at which a conversation can fail: the values of Error.Op.
const (
	opBuild   = "build"
	opChoose  = "choose"  // among the providers
	opWait    = "wait"    // for a free connection
	opConnect = "connect" // dial, greeting, EHLO
	opTLS     = "tls"
	opAuth    = "auth"
	opReset   = "reset" // between two messages of a connection
	opMail    = "mail"
	opRcpt    = "rcpt"
	opData    = "data"  // the DATA command and the content before the final dot
	opAbort   = "abort" // beforeDot refused
	opDot     = "dot"   // from the final dot on
)

// maxReply bounds, in bytes, what is kept of a server's reply.
const maxReply = 512

// errTimeout is the cause of a conversation that outlived POSTRIDER_SMTP_TIMEOUT.
var errTimeout = errors.New("no answer within POSTRIDER_SMTP_TIMEOUT")

// Error is the failure of one Send, Check or Build. It never holds a password.
type Error struct {
	Kind       Kind
	Op         string        // build choose wait connect tls auth reset mail rcpt data abort dot
	Provider   string        // its name in SMTP_URL; empty for build and choose
	Host       string        // host:port of the server; likewise
	Code       int           // the SMTP reply code; 0 when there was no well-formed reply
	Enhanced   string        // the enhanced status code (RFC 3463), for example "5.1.1", or ""
	Reply      string        // the reply's text: printable, at most 512 bytes
	BadAddress bool          // the recipient's address itself is the fault: do not write to it again
	After      time.Duration // of Deferred only
	Err        error         // the cause, or an explanation of the reply; may be nil
}

// Error names the operation, the host and the reply or cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("mail " + e.Op)
	if e.Host != "" {
		b.WriteString(" at ")
		if !strings.HasPrefix(e.Host, e.Provider+":") {
			b.WriteString(e.Provider + ", ")
		}
		b.WriteString(e.Host)
	}
	if e.Code != 0 {
		b.WriteString(": " + strconv.Itoa(e.Code))
		if e.Reply != "" {
			b.WriteString(" " + e.Reply)
		}
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause: for Cancelled context.Cause(ctx) or beforeDot's error.
func (e *Error) Unwrap() error { return e.Err }

// failure makes an Error of what went wrong in an operation. ctx is the
// conversation's: when it has ended, its cause is the error, because the
// connection was closed for it.
//
// A reply that was read counts more than ctx: the server has spoken.
func failure(ctx context.Context, op, host string, err error) *Error {
	var (
		malformed textproto.ProtocolError
		reply     *textproto.Error
	)
	e := &Error{Kind: Temporary, Op: op, Host: host, Err: err}
	switch {
	case errors.As(err, &malformed): // first: go-mail joins the errors of EHLO and HELO
		e.Err = fmt.Errorf("reading a malformed reply: %s", printable(malformed.Error()))
	case errors.As(err, &reply):
		return refusal(op, host, reply)
	case ctx.Err() != nil:
		e.Err = context.Cause(ctx)
		if !errors.Is(e.Err, errTimeout) {
			e.Kind = Cancelled
		}
	}
	if op == opDot {
		e.Kind = Ambiguous
	}
	return e
}

// refusal makes an Error of a well-formed reply that was not the hoped-for one.
func refusal(op, host string, reply *textproto.Error) *Error {
	e := &Error{Op: op, Host: host, Code: reply.Code, Reply: printable(reply.Msg)}
	e.Enhanced = enhancedCode(reply.Code, e.Reply)
	switch {
	case loginCode(reply.Code):
		// An operator's wrong password, or a relay that has begun to ask for
		// one, says nothing about the message: it must wait, not be destroyed.
		e.Kind = Temporary
		e.Err = errors.New("the server refused the login: check user and password in SMTP_URL")
	case op == opConnect || op == opTLS || op == opAuth || op == opReset:
		// What is refused is the session or our set-up, before a message was
		// named: RFC 5321 §3.1 has 554 for a greeting that serves nobody, §4.3.2
		// has 550 for EHLO. A relay that is being mended, or has us on a list for
		// an hour, must not cost the messages.
		e.Kind = Temporary
	case reply.Code/100 == 4:
		e.Kind = Temporary
	case reply.Code/100 == 5:
		e.Kind = Permanent
		e.BadAddress = op == opRcpt && BadAddress(e.Enhanced)
	case op == opDot:
		e.Kind = Ambiguous
		e.Err = errors.New("the reply means nothing here")
	default:
		e.Kind = Temporary
		e.Err = errors.New("the reply means nothing here")
	}
	return e
}

// asError is the *Error in err, or nil.
func asError(err error) *Error {
	var e *Error
	errors.As(err, &e)
	return e
}

// sessionFailed tells the failures that speak of the server or the connection
// and not of the message: no session, no login, no reply or none that can be
// understood, and 421 (RFC 5321 §3.8: the server closes the channel).
func sessionFailed(e *Error) bool {
	if e == nil || e.Kind != Temporary && e.Kind != Ambiguous {
		return false
	}
	switch e.Op {
	case opConnect, opTLS, opAuth, opReset:
		return true
	}
	return e.Code == 0 || e.Code == 421 || loginCode(e.Code)
}

// loginCode tells the replies that only ever speak of authentication (RFC 4954
// §4 and §6): 530 required, 534 too weak, 535 invalid, 538 needs encryption.
func loginCode(code int) bool {
	return code == 530 || code == 534 || code == 535 || code == 538
}

// BadAddress tells whether the enhanced code of a 5xx blames the recipient's
// address for good: no such mailbox (1), no such system (2), bad syntax (3), the
// mailbox has moved (6) (RFC 3463 §3.2), a domain that takes no mail (10, RFC
// 7505). Of the same subject 0 says nothing, 4 and 5 that the address is good for
// something, 7 and 8 blame the sender's address, 9 the next server. A full
// mailbox (5.2.2) will be emptied.
//
// A bare 550, 551 or 553 blames nobody: RFC 5321 §4.2.3 gives 550 to "not
// found, no access, or command rejected for policy reasons" alike, and relays
// refuse blocked senders and foreign domains with all three. Taking such a
// reply for a bad address would silence every later mail to a good one; not
// taking it costs one more refusal.
func BadAddress(enhanced string) bool {
	switch enhanced {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10":
		return true
	}
	return false
}

// enhancedCode finds the status code that RFC 2034 puts at the head of a
// reply's text; one of another class than the reply's is not believed.
func enhancedCode(code int, text string) string {
	word, _, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != strconv.Itoa(code/100) {
		return ""
	}
	for _, part := range parts {
		if n, err := strconv.ParseUint(part, 10, 16); err != nil || n > 999 {
			return ""
		}
	}
	return word
}

// printable makes a server's text fit for logs and pages: valid UTF-8, one
// line, no control or invisible characters, at most maxReply bytes.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > maxReply {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}
