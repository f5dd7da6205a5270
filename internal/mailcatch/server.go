// Package mailcatch is the development mailbox: an SMTP server that takes every
// mail, keeps the newest in memory and shows them on a page.
package mailcatch

import (
	"io"
	"log/slog"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/smtpserver"
)

const (
	maxMailBytes  = 32 << 20 // one mail
	maxRecipients = 100      // RFC 5321 §4.5.3.1.8
	idleTimeout   = 5 * time.Minute
)

// Server takes mails and shows them. It needs no login and offers none: it is
// for a listener that only this machine reaches.
type Server struct {
	*smtpserver.Server
	box *box
	log *slog.Logger
}

// New makes a mailbox that holds the newest 500 mails of at most 64 MiB
// together.
func New(log *slog.Logger) *Server {
	s := &Server{box: newBox(maxMails, maxBoxBytes), log: log.With("component", "mailcatch")}
	s.Server = smtpserver.New(smtpserver.Options{
		Name: "the mail catcher", Domain: "localhost", Session: func() smtp.Session { return &session{server: s} },
		MaxBytes: maxMailBytes, MaxRecipients: maxRecipients, Idle: idleTimeout, Log: s.log,
	})
	return s
}

// session is one SMTP connection's transaction.
type session struct {
	server *Server
	from   string
	to     []string
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // go-smtp answers 552 for a mail that is too large
	}
	id := s.server.box.add(time.Now(), s.from, s.to, raw)
	s.server.log.Debug("caught a mail", "id", id, "bytes", len(raw))
	return nil
}

func (s *session) Reset() { s.from, s.to = "", nil }

func (s *session) Logout() error { return nil }
