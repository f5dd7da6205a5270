package bounce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/tasks"
)

// The replies to what is not taken. They tell a stranger nothing but that.
var (
	errRecipient = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "There is no such mailbox here"}
	errOften     = &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "Too many mails to this mailbox, come again later"}
	errStore     = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "It cannot be stored now, come again later"}
)

// session is one connection's transactions.
type session struct {
	in *Listener
	to []string // return paths that were signed here
}

// Mail implements smtp.Session. Bounces come from nobody, <>; who answers
// automatically may have a name.
func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	id, ours := s.in.read.Returns.MessageID(to)
	if !ours {
		s.in.metrics.refuse(refusedRecipient)
		return errRecipient
	}
	if to = strings.ToLower(to); slices.Contains(s.to, to) {
		return nil
	}
	got, err := s.in.limiter.Allow(s.in.ctx, "bounce:"+id, perMail, 1)
	if err != nil || !got.Allowed { // it errs when the process stops
		s.in.metrics.refuse(refusedRate)
		return errOften
	}
	s.to = append(s.to, to)
	return nil
}

// Data implements smtp.Session. Nothing is refused for what it says: its sender
// could do nothing about that. It is read here, though it is read again as a job,
// since what tells of no mail (an absence note, say) is somebody's letter, which
// is not for us to keep.
func (s *session) Data(r io.Reader) error {
	head, err := io.ReadAll(io.LimitReader(r, tasks.MaxFeedbackMessage))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		s.in.metrics.refuse(refusedFor(err))
		return err
	}
	tells := false
	for _, to := range s.to {
		if len(s.in.read.Message(to, head)) == 0 {
			continue
		}
		tells = true
		if err := s.in.keep(to, head); err != nil {
			s.in.log.Warn("a mail that came back could not be stored; its sender is asked to come again", "err", err)
			s.in.metrics.refuse(refusedStore)
			return errStore
		}
	}
	s.in.metrics.took(tells)
	return nil
}

// keep stores a mail. Its key is what it is made of, so that one whose 250 was
// lost is kept once.
func (l *Listener) keep(to string, head []byte) error {
	ctx, cancel := context.WithTimeoutCause(l.ctx, storeLimit, errors.New("the database did not answer in time"))
	defer cancel()
	sum := sha256.New()
	_, _ = io.WriteString(sum, to+"\x00") // a hash never errs
	_, _ = sum.Write(head)
	return l.store(ctx, hex.EncodeToString(sum.Sum(nil)), tasks.Feedback{Provider: tasks.FeedbackMessage, Message: head, Rcpt: to})
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.to = nil }

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }
