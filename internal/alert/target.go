package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/webhook"
)

// Post sends a body to another server; a fetch.Client's.
type Post func(ctx context.Context, url string, header http.Header, body []byte) (status int, answer []byte, err error)

// Mailer sends mails past all queues; a *mail.Sender.
type Mailer interface {
	Send(ctx context.Context, m mail.Message, beforeDot func(context.Context) error) (mail.Receipt, error)
}

// target delivers a notice.
type target func(context.Context, Notice) error

func (w *Watch) makeTargets() (map[string]target, error) {
	c, out := w.o.Config, map[string]target{}
	if c.Webhook != "" {
		key, err := webhook.ParseKey(c.Secret)
		if err != nil {
			return nil, fmt.Errorf("POSTRIDER_ALERT_WEBHOOK_SECRET %w", err)
		}
		out[TargetWebhook] = func(ctx context.Context, n Notice) error { return w.toWebhook(ctx, key, n) }
	}
	if c.Slack != "" {
		out[TargetSlack] = w.toSlack
	}
	for i, address := range c.Mail {
		out[mailTarget(i)] = func(ctx context.Context, n Notice) error { return w.toMail(ctx, address, n) }
	}
	return out, nil
}

// body is what the webhook is sent (Standard Webhooks, "Payload structure").
type body struct {
	Type      string    `json:"type"` // alert. and a Kind
	Timestamp time.Time `json:"timestamp"`
	Data      bodyData  `json:"data"`
}

type bodyData struct {
	Rule     Rule       `json:"rule"`
	Subject  string     `json:"subject,omitempty"`
	Summary  string     `json:"summary"`
	Since    time.Time  `json:"since"`
	Until    *time.Time `json:"until,omitempty"`
	Duration float64    `json:"duration_seconds"`
	URL      string     `json:"url,omitempty"`
}

func (w *Watch) toWebhook(ctx context.Context, key webhook.Key, n Notice) error {
	b := body{Type: "alert." + string(n.Kind), Timestamp: n.At, Data: bodyData{
		Rule: n.Rule, Subject: n.Subject, Summary: n.Summary, Since: n.Since, Duration: n.Lasted().Seconds(), URL: w.o.URL,
	}}
	if !n.Until.IsZero() {
		b.Data.Until = &n.Until
	}
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("writing a notice: %w", err)
	}
	return w.post(ctx, w.o.Config.Webhook, key.Headers(n.ID, time.Now(), text), text)
}

func (w *Watch) toSlack(ctx context.Context, n Notice) error {
	text, err := json.Marshal(map[string]string{"text": escaped.Replace(n.words()) + w.link()})
	if err != nil {
		return fmt.Errorf("writing a notice: %w", err)
	}
	return w.post(ctx, w.o.Config.Slack, http.Header{"Content-Type": {"application/json"}}, text)
}

// escaped are the characters that Slack reads as markup.
var escaped = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func (w *Watch) link() string {
	if w.o.URL == "" {
		return ""
	}
	return "\n" + w.o.URL
}

func (w *Watch) post(ctx context.Context, url string, header http.Header, body []byte) error {
	status, _, err := w.o.Post(ctx, url, header, body)
	if err == nil && (status < 200 || status > 299) {
		err = fmt.Errorf("the answer is %d", status)
	}
	return err
}

// toMail sends the notice past the queues, of which it may tell, and through a
// provider that workers do not leave alone, if there is one. What is sent again has
// the same Message-ID.
func (w *Watch) toMail(ctx context.Context, address string, n Notice) error {
	down, err := w.o.Store.Outages(ctx, outageFresh)
	if err != nil {
		return err
	}
	m := mail.Message{
		ID: "alert-" + n.ID, Rcpt: address, Subject: "Postrider: " + n.title(), Text: n.words() + "\n" + w.link() + "\n",
		Avoid: down, Headers: map[string]string{"Auto-Submitted": "auto-generated"}, // RFC 3834 section 5
	}
	if _, err := w.o.Mail.Send(ctx, m, nil); err != nil {
		return fmt.Errorf("sending the mail: %w", err)
	}
	return nil
}

// title is what the notice says in some words.
func (n Notice) title() string {
	about := strings.ReplaceAll(string(n.Rule), "_", " ")
	if n.Subject != "" {
		about += " (" + n.Subject + ")"
	}
	switch n.Kind {
	case Resolved:
		return "resolved: " + about
	case Repeated:
		return "still firing: " + about
	default:
		return "firing: " + about
	}
}

// words are what people read.
func (n Notice) words() string {
	lasted := n.Lasted().Round(time.Second)
	switch n.Kind {
	case Resolved:
		return fmt.Sprintf("Resolved after %s. It was: %s", lasted, n.Summary)
	case Repeated:
		return fmt.Sprintf("Still so after %s. %s", lasted, n.Summary)
	default:
		return n.Summary
	}
}
