package mail

import (
	"context"
	"errors"
)

// command is a line of SMTP and the reply that is hoped for.
type command struct {
	op   string
	line string
	want int // the reply code, or its first digit
}

// transact sends one message over the session. A session that has sent one
// before is reset first, where that costs no time of its own: by RFC 5321
// §4.1.1.4 the server has forgotten the last message at its dot.
//
// passed is set as soon as beforeDot is called: from there on the message must
// not be tried anywhere else, whatever the error.
func (s *session) transact(ctx context.Context, l letter, beforeDot func(context.Context) error) (r Receipt, passed bool, err error) {
	commands, err := s.envelope(l)
	if err != nil {
		return Receipt{}, false, err
	}
	if err := s.converse(ctx, commands); err != nil {
		return Receipt{}, false, err
	}
	text := s.client.Text
	err = l.wire.writeTo(text.W)
	if err == nil {
		// What fails now is still harmless; what would fail together with the
		// dot is not.
		err = text.W.Flush()
	}
	if err != nil {
		return Receipt{}, false, s.provider.failure(ctx, opData, err)
	}
	if beforeDot != nil {
		if err := beforeDot(ctx); err != nil {
			return Receipt{}, true, s.provider.aborted(ctx, err)
		}
	}
	if ctx.Err() != nil {
		return Receipt{}, true, s.provider.failure(ctx, opData, context.Cause(ctx))
	}
	r, err = s.dot(ctx)
	r.MessageID = l.messageID
	return r, true, err
}

// envelope is what is said before the content. It finds what the server cannot
// take without asking it.
func (s *session) envelope(l letter) ([]command, error) {
	if l.utf8 && !s.offers("SMTPUTF8") {
		return nil, s.provider.refuse(Permanent, opMail, "an address has letters outside ASCII before its @ and the server does not offer SMTPUTF8")
	}
	if limit := s.sizeLimit(); limit > 0 && l.content.size() > limit {
		return nil, s.provider.refuse(Permanent, opMail, "the message has %d bytes, the server takes at most %d", l.content.size(), limit)
	}
	from := "MAIL FROM:" + l.from
	if l.utf8 { // only where needed: the next server on the way may not have it
		if s.offers("8BITMIME") {
			from += " BODY=8BITMIME"
		}
		from += " SMTPUTF8"
	}
	commands := make([]command, 0, 4)
	if s.messages > 0 && s.offers("PIPELINING") {
		commands = append(commands, command{opReset, "RSET", 2})
	}
	return append(commands, command{opMail, from, 2}, command{opRcpt, "RCPT TO:" + l.rcpt, 2}, command{opData, "DATA", 354}), nil
}

// converse sends the commands and reads their replies: all at once where the
// server offers PIPELINING (RFC 2920 §3.1, which has DATA as a group's last),
// else one after the other. The first reply that is not hoped for ends it.
func (s *session) converse(ctx context.Context, commands []command) error {
	text := s.client.Text
	group := 1
	if s.offers("PIPELINING") {
		group = len(commands)
	}
	for len(commands) > 0 {
		now := commands[:group]
		commands = commands[group:]
		for _, c := range now {
			// Errors of a bufio.Writer stay until Flush tells them.
			_, _ = text.W.WriteString(c.line + "\r\n")
		}
		if err := text.W.Flush(); err != nil {
			return s.provider.failure(ctx, now[0].op, err)
		}
		for _, c := range now {
			if _, _, err := text.ReadResponse(c.want); err != nil {
				return s.provider.failure(ctx, c.op, err)
			}
		}
	}
	return nil
}

// dot ends the content and reads the verdict. From here on every error but a
// well-formed refusal is ambiguous. A code of the 2xx class is an acceptance,
// whichever it is (RFC 5321 §4.3.2: the first digit decides).
func (s *session) dot(ctx context.Context) (Receipt, error) {
	text := s.client.Text
	// A write that fails is told by the read that follows; but a server that
	// has left with a word has spoken.
	_, _ = text.W.WriteString(".\r\n")
	_ = text.W.Flush()
	code, reply, err := text.ReadResponse(2)
	if err != nil {
		return Receipt{}, s.provider.failure(ctx, opDot, err)
	}
	s.messages++
	return Receipt{Code: code, Reply: printable(reply), Provider: s.provider.name, Host: s.provider.addr()}, nil
}

// aborted is the failure of a beforeDot that refused. One that refused only
// because our own time limit had ended its ctx is a slow server's.
func (p *provider) aborted(ctx context.Context, err error) *Error {
	if errors.Is(context.Cause(ctx), errTimeout) {
		return p.failure(ctx, opData, err)
	}
	return &Error{Kind: Cancelled, Op: opAbort, Provider: p.name, Host: p.addr(), Err: err}
}
