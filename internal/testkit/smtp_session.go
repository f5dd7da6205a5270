package testkit

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
)

// errLeave ends a session: the script or the client wants it so.
var errLeave = errors.New("leave the session")

// smtpSession is one connection. Every method returns an error when the
// conversation is over.
type smtpSession struct {
	server *SMTP
	raw    net.Conn
	conn   net.Conn // raw, or TLS over it
	in     *bufio.Reader

	held []byte // replies that wait for DATA: see SMTPInGroups

	encrypted bool
	user      string
	mail      *SMTPMail // the transaction; nil outside one
	entry     *SMTPTransaction
	answered  *SMTPTransaction // the last one taken, until the client speaks on
}

func (c *smtpSession) run() {
	defer c.endEntry()
	c.conn = c.raw
	if c.server.implicitTLS {
		if err := c.encrypt(); err != nil {
			return
		}
	}
	c.in = bufio.NewReader(c.conn)
	if err := c.answer(SMTPAtConnect, 220, "mail.test ESMTP scripted"); err != nil {
		return
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		if c.command(strings.TrimRight(line, "\r\n")) != nil {
			return
		}
	}
}

func (c *smtpSession) command(line string) error {
	c.confirmEntry()
	c.heard("")
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO":
		c.mail = nil
		c.endEntry()
		return c.answer(SMTPAtEHLO, 250, c.greeting()...)
	case "STARTTLS":
		return c.startTLS()
	case "AUTH":
		return c.auth(rest)
	case "MAIL":
		return c.mailFrom(rest)
	case "RCPT":
		return c.rcptTo(rest)
	case "DATA":
		return c.data()
	case "RSET":
		c.mail = nil
		c.endEntry()
		return c.answer(SMTPAtRset, 250, "2.0.0 reset")
	case "QUIT":
		_ = c.answer(SMTPAtQuit, 221, "2.0.0 bye")
		return errLeave
	case "NOOP":
		return c.reply(250, "2.0.0 ok")
	default:
		return c.reply(502, "5.5.1 unknown command")
	}
}

func (c *smtpSession) greeting() []string {
	lines := []string{"mail.test", "8BITMIME", "ENHANCEDSTATUSCODES"}
	if c.server.startTLS && !c.encrypted {
		lines = append(lines, "STARTTLS")
	}
	if len(c.server.mechanisms) > 0 {
		lines = append(lines, "AUTH "+strings.Join(c.server.mechanisms, " "))
	}
	return append(lines, c.server.extensions...)
}

func (c *smtpSession) startTLS() error {
	action, scripted := c.server.reached(SMTPAtStartTLS)
	switch {
	case scripted && action.code != 220:
		return c.perform(action)
	case !c.server.startTLS || c.encrypted:
		return c.reply(502, "5.5.1 no TLS here")
	}
	if err := c.reply(220, "2.0.0 go ahead"); err != nil {
		return err
	}
	if err := c.encrypt(); err != nil {
		return err
	}
	c.in = bufio.NewReader(c.conn)
	c.mail, c.user = nil, ""
	return nil
}

func (c *smtpSession) encrypt() error {
	conn := tls.Server(c.raw, c.server.tlsConfig)
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.conn, c.encrypted = conn, true
	return nil
}

func (c *smtpSession) mailFrom(rest string) error {
	action, scripted := c.server.reached(SMTPAtMail)
	if scripted {
		if err := c.perform(action); err != nil || action.code/100 != 2 {
			return err
		}
	}
	path, params, ok := cutPath(rest, "FROM:")
	switch {
	case !ok:
		return c.reply(501, "5.5.4 syntax")
	case len(c.server.mechanisms) > 0 && c.user == "":
		return c.reply(530, "5.7.0 authentication required")
	}
	c.mail = &SMTPMail{From: path, MailParams: params, User: c.user, TLS: c.encrypted}
	c.beginEntry()
	if scripted {
		return nil
	}
	return c.reply(250, "2.1.0 ok")
}

func (c *smtpSession) rcptTo(rest string) error {
	path, _, ok := cutPath(rest, "TO:")
	action, scripted := c.server.reached(SMTPAtRcpt)
	if !scripted {
		action, scripted = c.server.judged(path)
	}
	if scripted {
		if err := c.perform(action); err != nil || action.code/100 != 2 {
			return err
		}
	}
	switch {
	case !ok:
		return c.reply(501, "5.5.4 syntax")
	case c.mail == nil:
		return c.reply(503, "5.5.1 MAIL first")
	}
	c.mail.To = append(c.mail.To, path)
	if scripted {
		return nil
	}
	return c.reply(250, "2.1.5 ok")
}

func (c *smtpSession) data() error {
	action, scripted := c.server.reached(SMTPAtData)
	switch {
	case scripted:
		if err := c.perform(action); err != nil || action.code != 354 {
			return err
		}
	case c.mail == nil || len(c.mail.To) == 0:
		return c.reply(503, "5.5.1 RCPT first")
	default:
		if err := c.reply(354, "end with <CRLF>.<CRLF>"); err != nil {
			return err
		}
	}
	content, err := c.readContent()
	if err != nil {
		return err
	}
	if c.mail == nil {
		c.mail = new(SMTPMail)
	}
	got := *c.mail
	c.mail = nil
	got.Data = content
	if parsed, err := mail.ReadMessage(bytes.NewReader(content)); err == nil {
		got.MessageID = parsed.Header.Get("Message-ID")
	}
	return c.dot(got)
}

// dot decides about a message that has come whole. It is recorded before the
// reply is written, so that a client that has the reply finds it here.
func (c *smtpSession) dot(got SMTPMail) error {
	defer c.endEntry()
	c.server.dotReceived(got.MessageID)
	action, scripted := c.server.reached(SMTPAtDot)
	if !scripted {
		action = SMTPReply(250, "2.0.0 accepted")
	}
	if action.code/100 == 2 || action.accepts {
		c.acceptEntry()
		c.server.accepted(got)
	}
	entry := c.entry
	if err := c.perform(action); err != nil {
		return err
	}
	if action.code/100 == 2 {
		c.answered = entry
	}
	return nil
}

// readContent reads up to the line of a single dot and undoes the dot-stuffing
// (RFC 5321 §4.5.2). Only CRLF.CRLF ends it: a bare LF does not.
func (c *smtpSession) readContent() ([]byte, error) {
	var content []byte
	lineBegins := true
	for {
		line, err := c.in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if lineBegins {
			if string(line) == ".\r\n" {
				return content, nil
			}
			line = bytes.TrimPrefix(line, []byte("."))
		}
		content = append(content, line...)
		c.heard(string(line))
		c.server.contentReceived(len(line))
		lineBegins = bytes.HasSuffix(line, []byte("\r\n"))
	}
}

// answer does what is scripted for the verb, or replies.
func (c *smtpSession) answer(verb SMTPVerb, code int, lines ...string) error {
	if action, ok := c.server.reached(verb); ok {
		return c.perform(action)
	}
	return c.reply(code, lines...)
}

func (c *smtpSession) reply(code int, lines ...string) error {
	return c.perform(SMTPReply(code, lines...))
}

func (c *smtpSession) perform(a SMTPAction) error {
	if c.server.inGroups && c.mail != nil && a.code/100 == 2 {
		c.held = append(c.held, a.text...)
		return nil
	}
	if _, err := c.conn.Write(append(c.held, a.text...)); err != nil {
		return err
	}
	c.held = nil
	switch a.after {
	case thenClose:
		return errLeave
	case thenHang:
		_, _ = io.Copy(io.Discard, c.in) // until the client leaves or Close cuts
		return errLeave
	default:
		return nil
	}
}

// cutPath splits `FROM:<a@b> PARAMS` into address and parameters.
func cutPath(rest, prefix string) (path, params string, ok bool) {
	if len(rest) < len(prefix) || !strings.EqualFold(rest[:len(prefix)], prefix) {
		return "", "", false
	}
	path, params, ok = strings.Cut(strings.TrimSpace(rest[len(prefix):]), ">")
	if !ok || !strings.HasPrefix(path, "<") {
		return "", "", false
	}
	return path[1:], textproto.TrimString(params), true
}
