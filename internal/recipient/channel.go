package recipient

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/tasks"
)

// Channel is a kind of message. It knows for whom a job's payload is, and what
// they want done with it.
type Channel struct {
	essential func(category string) bool
	find      func(ctx context.Context, keys []string) (map[string]Preferences, error)
	// read is false of what nobody has preferences about.
	read func(tasks.Payload) (message, bool)
}

var _ job.Admission = (*Channel)(nil)

// readMail finds a mail's recipient by the normalised address.
func readMail(p tasks.Payload) (message, bool) {
	e, ok := p.(*tasks.Email)
	if !ok {
		return message{}, false
	}
	address, err := mail.Normalise(e.Rcpt)
	return message{to: address, category: e.Category, urgent: e.Urgent}, err == nil
}

// readNotification finds a user by name. A notification waits for who looks: it
// disturbs nobody.
func readNotification(p tasks.Payload) (message, bool) {
	n, ok := p.(*tasks.Notification)
	if !ok || n.ReceiverID == "" {
		return message{}, false
	}
	id, err := NormalID(n.ReceiverID)
	return message{to: id, category: n.Category, silent: true}, err == nil
}

// about is the message that a payload is, if anyone may have a say in it.
func (c *Channel) about(p tasks.Payload) (message, bool) {
	m, ok := c.read(p)
	return m, ok && !c.essential(m.category)
}

// Decide says what is to be done with a payload at the time t. An error has a
// Code: it could not be found out.
func (c *Channel) Decide(ctx context.Context, payload tasks.Payload, t time.Time) (Decision, error) {
	m, ok := c.about(payload)
	if !ok {
		return Decision{}, nil
	}
	found, err := c.find(ctx, []string{m.to})
	if err != nil {
		return Decision{}, fmt.Errorf("asking for the recipient's preferences: %w", err)
	}
	p, ok := found[m.to]
	if !ok {
		return Decision{}, nil
	}
	return p.decide(m, t), nil
}

// Admit implements job.Admission: what is switched off is accepted as
// suppressed, what would be due in quiet hours is put off. What is to be
// gathered is so when it is due.
func (c *Channel) Admit(ctx context.Context, jobs []*job.Candidate) error {
	about := make(map[*job.Candidate]message, len(jobs))
	seen := make(map[string]bool, len(jobs))
	var keys []string
	for _, j := range jobs {
		m, ok := c.about(j.Payload)
		if !ok {
			continue
		}
		about[j] = m
		if !seen[m.to] {
			seen[m.to] = true
			keys = append(keys, m.to)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := c.find(ctx, keys)
	if err != nil {
		return fmt.Errorf("asking for recipients' preferences: %w", err)
	}
	now := time.Now()
	for j, m := range about {
		p, ok := found[m.to]
		if !ok {
			continue
		}
		switch d := p.decide(m, j.New.Due(now)); d.Action {
		case Refuse:
			j.New.State, j.New.Message = job.Suppressed, d.Reason
		case Wait:
			j.New.RunAt, j.New.Message = d.Until, d.Reason
		}
	}
	return nil
}
