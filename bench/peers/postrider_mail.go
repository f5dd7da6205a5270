package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/work"
	"github.com/postrider/postrider/tasks"
)

// postriderMail is Postrider as it sends mails: email:send, durably, by its own
// handler.
type postriderMail struct {
	Queue
	sender *mail.Sender
}

func newPostriderMail(ctx context.Context, spec Spec) (Queue, error) {
	sender, err := mail.New(mail.Options{
		Config: mail.Config{
			URL: "smtp://" + spec.SMTP + "?tls=none", From: "Bench <bench@example.com>", Timeout: 20 * time.Second,
		},
		Senders: 100, Log: quiet(), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, fmt.Errorf("making the sender: %w", err)
	}
	p := &postrider{spec: spec, kind: tasks.EmailSend.Type, payload: encodeEmail}
	p.binding = func(func(Mail)) (work.Binding, error) {
		return work.Email(work.Mail{
			Sender: sender, Suppressed: suppress.NewGate(p.store.Suppressions(), mail.Categories{}),
			Preferences: recipient.New(recipient.Options{Store: p.store.Recipients(), Log: quiet()}),
		}), nil
	}
	q, err := openPostrider(ctx, p)
	if err != nil {
		sender.Close()
		return nil, err
	}
	return postriderMail{q, sender}, nil
}

// Close implements Queue.
func (q postriderMail) Close(ctx context.Context) error {
	defer q.sender.Close()
	return q.Queue.Close(ctx)
}

func encodeEmail(m Mail) ([]byte, error) {
	return json.Marshal(tasks.Email{To: []string{m.Email}, Subject: m.Subject, Text: m.Message})
}
