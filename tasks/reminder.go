package tasks

import (
	"fmt"
	"strings"
	"time"
)

// EmailReminder mails a text to a list of people: one EmailSend job for each of
// them. It runs by the timetable.
var EmailReminder = Define[Reminder](Type{
	Name:        "email:reminder",
	Queue:       "maintenance",
	Deadline:    30 * time.Second,
	MaxAttempts: 12,
	Backoff:     Backoff{Base: 10 * time.Second, Max: 10 * time.Minute, Jitter: 0.2},
})

// MaxReminded bounds Reminder.Recipients.
const MaxReminded = 1000

// Reminder is the payload of EmailReminder.
type Reminder struct {
	Recipients []string `json:"recipients"`
	Subject    string   `json:"subject,omitempty"` // "Daily reminder" when empty
	Text       string   `json:"text,omitempty"`    // a sentence when empty
}

// Validate implements Payload.
func (r *Reminder) Validate() error {
	var bad Invalid
	if r.Subject == "" {
		r.Subject = "Daily reminder"
	}
	if r.Text == "" {
		r.Text = "This is your daily reminder."
	}
	switch n := len(r.Recipients); {
	case n == 0:
		bad.Add("recipients", "must not be empty")
	case n > MaxReminded:
		bad.Add("recipients", fmt.Sprintf("has %d entries, the most is %d", n, MaxReminded))
		return bad
	}
	seen := make(map[string]bool, len(r.Recipients))
	for i, s := range r.Recipients {
		field := fmt.Sprintf("recipients[%d]", i)
		full, bare, problem := parseAddress(s)
		key := strings.ToLower(bare)
		switch {
		case problem != "":
			bad.Add(field, problem)
		case seen[key]:
			bad.Add(field, "is named before")
		}
		r.Recipients[i], seen[key] = full, true
	}
	// What is left is checked as the mail that each of them gets.
	mail := Email{To: []string{"someone@example.com"}, Subject: r.Subject, Text: r.Text}
	if err, ok := mail.Validate().(Invalid); ok {
		bad = append(bad, err...)
	}
	return bad.OrNil()
}

// Mails are the payloads of the mails that remind, in the order of the
// recipients. The reminder must be valid.
func (r *Reminder) Mails() []Email {
	out := make([]Email, len(r.Recipients))
	for i, to := range r.Recipients {
		out[i] = Email{To: []string{to}, Subject: r.Subject, Text: r.Text}
	}
	return out
}
