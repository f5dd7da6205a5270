package testkit

import (
	"strings"
	"time"
)

// SMTPTransaction is one attempt at a mail as the server saw it, whether or not
// the mail was taken: it begins with MAIL and ends with the answer to the final
// dot, or with what came instead (RSET, another greeting, the connection's end).
type SMTPTransaction struct {
	MessageID string    // with its angle brackets; empty until that header has come
	Began     time.Time // when MAIL was taken
	Heard     time.Time // the client's last line
	Ended     time.Time // zero while it goes on
	Accepted  bool      // the server has the mail
	// Confirmed tells that the client is sure to have read that it has: it
	// spoke on after a positive answer to the final dot.
	Confirmed bool
}

// Transactions returns all attempts at mails in the order of their beginning.
func (s *SMTP) Transactions() []SMTPTransaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]SMTPTransaction, len(s.journal))
	for i, entry := range s.journal {
		out[i] = *entry
	}
	return out
}

// Judge has f decide about each recipient, by its bare address, that no action
// is scripted for: false takes it, and so does a nil f. f is called from the sessions' goroutines.
func (s *SMTP) Judge(f func(recipient string) (SMTPAction, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge = f
}

func (s *SMTP) judged(recipient string) (SMTPAction, bool) {
	s.mu.Lock()
	f := s.judge
	s.mu.Unlock()
	if f == nil {
		return SMTPAction{}, false
	}
	return f(recipient)
}

// Honest takes back all that On and Once have set.
func (s *SMTP) Honest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.always)
	clear(s.once)
}

func (c *smtpSession) beginEntry() {
	c.endEntry()
	now := time.Now()
	c.entry = &SMTPTransaction{Began: now, Heard: now}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.journal = append(c.server.journal, c.entry)
}

// heard notes a line of the client's, of the content or "".
func (c *smtpSession) heard(line string) {
	c.onEntry(func(e *SMTPTransaction) {
		e.Heard = time.Now()
		const name = "message-id:"
		if e.MessageID == "" && len(line) > len(name) && strings.EqualFold(line[:len(name)], name) {
			e.MessageID = strings.TrimSpace(line[len(name):])
		}
	})
}

func (c *smtpSession) acceptEntry() { c.onEntry(func(e *SMTPTransaction) { e.Accepted = true }) }

// confirmEntry notes that the client has read what was answered to the last dot.
func (c *smtpSession) confirmEntry() {
	if c.answered == nil {
		return
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.answered.Confirmed = true
	c.answered = nil
}

func (c *smtpSession) endEntry() {
	c.onEntry(func(e *SMTPTransaction) { e.Ended = time.Now() })
	c.entry = nil
}

// onEntry changes what the journal has of the transaction, if there is one.
func (c *smtpSession) onEntry(change func(*SMTPTransaction)) {
	if c.entry == nil {
		return
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	change(c.entry)
}
