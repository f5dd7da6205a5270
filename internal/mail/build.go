package mail

import (
	"bytes"
	"errors"
	"fmt"
	netmail "net/mail"
	"regexp"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

const (
	maxLine     = 998 // octets of a line without its CRLF (RFC 5322 §2.1.1)
	maxWord     = 900 // octets of a header word: it and the field's name fit one line
	maxFileName = 255 // octets, as file systems have it
)

var (
	idPattern        = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)
	contentIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+@-]{0,126}$`)
)

// letter is a message ready for the wire.
type letter struct {
	from, rcpt string // paths with angle brackets
	// The addresses' domains, lower case.
	fromDomain, rcptDomain string
	messageID              string
	content                content
	wire                   content // the content as DATA has it
	utf8                   bool    // needs SMTPUTF8 (RFC 6531)
}

// Build renders the message as RFC 5322 bytes with CRLF line ends, all ASCII
// unless the local part of an address is not. Whatever can be wrong with a
// message is found here: every error is an [*Error] of kind Permanent that
// names the field. From is required.
func Build(m Message) (raw []byte, err error) {
	l, err := compose(m, Keys{})
	if err != nil {
		return nil, err
	}
	return l.content.bytes(), nil
}

// compose builds the message, signed by those of the keys that are its sender's.
func compose(m Message, keys Keys) (letter, error) {
	l, err := buildLetter(m)
	if err == nil {
		l.content, err = keys.sign(l.content, l.fromDomain)
	}
	if err != nil {
		return letter{}, &Error{Kind: Permanent, Op: opBuild, Err: err}
	}
	l.wire = l.content.stuffed()
	return l, nil
}

func buildLetter(m Message) (letter, error) {
	var l letter
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	from, rcpt, err := setAddresses(msg, m)
	if err != nil {
		return l, err
	}
	if !idPattern.MatchString(m.ID) {
		return l, errors.New("id must be 1 to 128 letters, digits or ._~-")
	}
	messageID := m.ID + "@" + domainOf(from)
	msg.SetMessageIDWithValue(messageID)
	if m.Date.IsZero() {
		m.Date = time.Now()
	}
	msg.SetDateWithValue(m.Date)
	subject, err := headerText("subject", m.Subject)
	if err != nil {
		return l, err
	}
	if !isASCII(subject) || looksEncoded.MatchString(subject) {
		subject = encodedWords(subject)
	}
	msg.Subject(subject)
	if err := setHeaders(msg, m); err != nil {
		return l, err
	}
	body, err := bodyOf(m)
	if err != nil {
		return l, err
	}
	var all assembly
	if _, err := msg.WriteTo(&all); err != nil { // without parts, it is the header
		return l, fmt.Errorf("writing the header: %w", err)
	}
	if err := body.top(&all); err != nil {
		return l, fmt.Errorf("writing the message: %w", err)
	}
	if err := all.content().text(checkLines); err != nil {
		return l, err
	}
	l = letter{
		from: path(from), rcpt: path(rcpt),
		fromDomain: strings.ToLower(domainOf(from)), rcptDomain: strings.ToLower(domainOf(rcpt)),
		messageID: "<" + messageID + ">", content: all.content(),
	}
	// Bodies are transfer-encoded, so what is not ASCII is an address.
	l.utf8 = !isASCII(l.from) || !isASCII(l.rcpt)
	for _, s := range l.content {
		l.utf8 = l.utf8 || !isASCII(s.text)
	}
	return l, nil
}

// setAddresses writes the address headers and returns the envelope.
func setAddresses(msg *gomail.Msg, m Message) (from, rcpt *netmail.Address, err error) {
	if from, err = parseMailbox("from", m.From); err != nil {
		return nil, nil, err
	}
	if rcpt, err = parseMailbox("rcpt", m.Rcpt); err != nil {
		return nil, nil, err
	}
	to, err := parseMailboxes("to", m.To)
	if err != nil {
		return nil, nil, err
	}
	cc, err := parseMailboxes("cc", m.Cc)
	if err != nil {
		return nil, nil, err
	}
	if len(to)+len(cc) == 0 {
		to = []*netmail.Address{rcpt}
	}
	msg.FromMailAddress(from)
	if len(to) > 0 {
		msg.ToMailAddress(to...)
	}
	if len(cc) > 0 {
		msg.CcMailAddress(cc...)
	}
	if m.ReplyTo != "" {
		replyTo, err := parseMailbox("reply_to", m.ReplyTo)
		if err != nil {
			return nil, nil, err
		}
		msg.ReplyToMailAddress(replyTo)
	}
	return from, rcpt, nil
}

func parseMailboxes(field string, list []string) ([]*netmail.Address, error) {
	addresses := make([]*netmail.Address, len(list))
	for i, s := range list {
		var err error
		if addresses[i], err = parseMailbox(fmt.Sprintf("%s[%d]", field, i), s); err != nil {
			return nil, err
		}
	}
	return addresses, nil
}

// checkLines is the last word on what goes out: lines end in CRLF, are no
// longer than RFC 5322 §2.1.1 has it, and hold no CR, LF or NUL of their own,
// which is what SMTP smuggling lives on.
func checkLines(raw []byte) error {
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
		if len(line) > maxLine {
			return fmt.Errorf("a line of the message would have more than %d octets", maxLine)
		}
		if bytes.ContainsAny(line, "\r\n\x00") {
			return errors.New("a line of the message would hold a bare CR, LF or NUL")
		}
	}
	return nil
}
