package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/work"
	"github.com/postrider/postrider/tasks"
)

// newPostriderMail is Postrider as it sends mails: email:send, durably, by its
// own handler.
func newPostriderMail(ctx context.Context, spec Spec) (Queue, error) {
	return openPostrider(ctx, &postrider{
		spec: spec, kind: tasks.EmailSend.Type, payload: encodeEmail,
		binding: func(func(Mail)) (work.Binding, error) {
			sender, err := mail.New(mail.Config{
				URL: "smtp://" + spec.SMTP + "?tls=none", From: "Bench <bench@example.com>", Timeout: 20 * time.Second,
			}, quiet())
			if err != nil {
				return work.Binding{}, fmt.Errorf("making the sender: %w", err)
			}
			return work.Email(sender), nil
		},
	})
}

func encodeEmail(m Mail) ([]byte, error) {
	return json.Marshal(tasks.Email{To: []string{m.Email}, Subject: m.Subject, Text: m.Message})
}
