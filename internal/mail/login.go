package mail

import (
	"context"
	"encoding/base64"
	"errors"
	"net/textproto"
	"strings"

	"github.com/wneessen/go-mail/smtp"
)

// login authenticates when SMTP_URL has credentials (RFC 4954). Every failure
// is temporary: see refusal.
func (s *session) login(ctx context.Context) error {
	p := s.provider
	if p.user == "" {
		return nil
	}
	if _, err := s.client.GetTLSConnectionState(); err != nil && !p.loopback {
		return p.refuse(Temporary, opAuth, "the connection is not encrypted: SMTP_URL has a password, which is sent unencrypted to a loopback host only")
	}
	offered, mechanisms := s.client.Extension("AUTH")
	if !offered {
		return p.refuse(Temporary, opAuth, "the server offers no AUTH and SMTP_URL has a user")
	}
	auth := chooseAuth(mechanisms, p.server)
	if auth == nil {
		return p.refuse(Temporary, opAuth, "the server offers none of SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN and CRAM-MD5, but %q", printable(mechanisms))
	}
	if err := s.client.Auth(auth); err != nil {
		return p.failure(ctx, opAuth, p.redact(err))
	}
	return nil
}

// redact takes the password out of an error: servers that do not understand a
// command like to quote it.
func (s server) redact(err error) error {
	if s.password == "" {
		return err
	}
	encode := base64.StdEncoding.EncodeToString
	replacer := strings.NewReplacer(
		encode([]byte("\x00"+s.user+"\x00"+s.password)), "***",
		encode([]byte(s.password)), "***",
		s.password, "***",
	)
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return &textproto.Error{Code: reply.Code, Msg: replacer.Replace(reply.Msg)}
	}
	if clean := replacer.Replace(err.Error()); clean != err.Error() {
		return errors.New(clean)
	}
	return err
}

// chooseAuth picks the best mechanism of those offered, or nil. SCRAM does not
// show the server the password. CRAM-MD5 comes last: the line is encrypted or
// local, so all it adds to PLAIN is servers that offer it and cannot do it.
func chooseAuth(mechanisms string, s server) smtp.Auth {
	offered := make(map[string]bool)
	for _, name := range strings.Fields(strings.ToUpper(mechanisms)) {
		offered[name] = true
	}
	switch {
	case offered["SCRAM-SHA-256"]:
		return smtp.ScramSHA256Auth(s.user, s.password)
	case offered["SCRAM-SHA-1"]:
		return smtp.ScramSHA1Auth(s.user, s.password)
	case offered["PLAIN"]:
		// The last argument lifts go-mail's own check: login has made ours.
		return smtp.PlainAuth("", s.user, s.password, s.host, true)
	case offered["LOGIN"]:
		return smtp.LoginAuth(s.user, s.password, s.host, true)
	case offered["CRAM-MD5"]:
		return smtp.CRAMMD5Auth(s.user, s.password)
	default:
		return nil
	}
}
