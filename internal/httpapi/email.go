package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/tasks"
)

// emailRequest is the body of send-email and schedule-email, in the short form
// (email, subject, message) or the long one.
type emailRequest struct {
	Email   string `json:"email,omitempty" example:"user@example.com" doc:"short form: the one recipient; instead of to"`
	Message string `json:"message,omitempty" example:"Thanks for signing up." doc:"short form: the text; instead of text"`

	To          addresses         `json:"to,omitempty" doc:"who it is for: an address or several, each with or without a display name; each becomes a job of its own"`
	Cc          addresses         `json:"cc,omitempty" doc:"who gets a copy; each becomes a job of its own"`
	ReplyTo     string            `json:"reply_to,omitempty" doc:"where answers go"`
	Subject     string            `json:"subject,omitempty" example:"Welcome!" doc:"up to 2,000 bytes; must be given without a template, and with one is used instead of the template's"`
	Text        string            `json:"text,omitempty" doc:"the plain text; text or html must be given, or template instead of both"`
	HTML        string            `json:"html,omitempty" doc:"the HTML"`
	Template    string            `json:"template,omitempty" example:"welcome" doc:"what subject, text and HTML are rendered from, as GET /templates lists them; a later change of the template does not change the mail"`
	Data        json.RawMessage   `json:"data,omitempty" doc:"what the template is filled with: an object that its schema allows, up to 256,000 bytes"`
	Locale      string            `json:"locale,omitempty" example:"de-AT" doc:"the language of the template: the one that comes nearest to it is chosen"`
	Headers     map[string]string `json:"headers,omitempty" doc:"further headers, at most 50; those that Postrider writes itself are refused"`
	Category    string            `json:"category,omitempty" example:"welcome" doc:"what recipients may switch off, or have gathered into a digest, unless it is essential: lower-case letters, digits, hyphens and underscores. A mail without one is essential"`
	Urgent      bool              `json:"urgent,omitempty" doc:"it is sent in the recipient's quiet hours too, and not gathered into a digest"`
	Attachments []attachment      `json:"attachments,omitempty" nullable:"false" doc:"at most 20 files, 25 MiB together"`
	Sink        bool              `json:"sink,omitempty" doc:"rehearse: the mail goes through every check and is built as it would be sent, and is dropped then; its state and answer tell what would have become of it"`
	Priority    string            `json:"priority,omitempty" enum:"normal,bulk" doc:"bulk is for campaigns: such mails go through a queue of their own and delay no other"`

	Delay     *int64     `json:"delay,omitempty" minimum:"0" maximum:"31622400000" example:"10000" doc:"milliseconds from now until it is sent"`
	SendAt    *time.Time `json:"send_at,omitempty" doc:"when it is sent; instead of delay, at most 366 days ahead"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"from when on it is not sent any more"`
}

type attachment struct {
	ID          string `json:"id,omitempty" doc:"a file that POST /attachments has stored; id or content must be given"`
	Content     string `json:"content,omitempty" encoding:"base64" doc:"the file, in base64"`
	Name        string `json:"name" example:"invoice.pdf" doc:"a file name"`
	ContentType string `json:"content_type,omitempty" example:"application/pdf" doc:"its media type; when left out the stored file's, or application/octet-stream"`
	Inline      bool   `json:"inline,omitempty" doc:"the html shows it, as an image with src=\"cid:\" and its content_id"`
	ContentID   string `json:"content_id,omitempty" example:"logo" doc:"up to 127 letters, digits and ._+@-; of inline files only"`
}

// maxMailBytes bounds what one request makes of its mail: each recipient's job
// holds all of it.
const maxMailBytes = maxBatchBody

func (a *api) sendEmail(ctx context.Context, who job.Caller, in emailRequest) (acceptance, error) {
	m, bad := in.email()
	in.checkForms(&bad)
	if err := bad.OrNil(); err != nil {
		return acceptance{}, job.Invalid(err)
	}
	payloads, err := in.payloads(m)
	if err != nil {
		return acceptance{}, err
	}
	base := job.Submission{Type: tasks.EmailSend.Name, Delay: milliseconds(in.Delay), RunAt: moment(in.SendAt), ExpiresAt: moment(in.ExpiresAt)}
	if in.Priority == "bulk" {
		base.Queue = "bulk"
	}
	subs := make([]job.Submission, len(payloads))
	for i, p := range payloads {
		subs[i] = base
		subs[i].Payload = p.json
	}
	when := timing{in.Delay, in.SendAt}

	if len(subs) == 1 {
		got, err := a.charged(ctx, who, 1, func() (job.Accepted, error) { return a.jobs.Accept(ctx, who, subs[0]) })
		if err != nil {
			return acceptance{}, in.renamed(err)
		}
		return acceptedOne(got, "Email task", "Email scheduled to be sent", when), nil
	}
	got, err := a.charged(ctx, who, len(subs), func() (job.Accepted, error) { return a.jobs.AcceptAll(ctx, who, subs) })
	if err != nil {
		return acceptance{}, in.renamed(err)
	}
	out := acceptedSeveral(got, "email tasks", "emails scheduled to be sent", when)
	for i := range out.Body.Jobs {
		out.Body.Jobs[i].Recipient = payloads[i].recipient
	}
	return out, nil
}

// scheduleEmail is sendEmail for a mail that must not go out at once by
// oversight.
func (a *api) scheduleEmail(ctx context.Context, who job.Caller, in emailRequest) (acceptance, error) {
	if in.Delay == nil && in.SendAt == nil {
		return acceptance{}, job.Invalid(tasks.Invalid{{Field: "delay", Problem: "or send_at must be given"}})
	}
	return a.sendEmail(ctx, who, in)
}

// checkForms refuses the short and the long form of one thing together.
func (in *emailRequest) checkForms(bad *tasks.Invalid) {
	if in.Email != "" && len(in.To) > 0 {
		bad.Add("email", "and to are two names of one field: give one of them")
	}
	if in.Message != "" && in.Text != "" {
		bad.Add("message", "and text are two names of one field: give one of them")
	}
}

// email is the payload that the request's jobs share, but for its Rcpt.
func (in *emailRequest) email() (tasks.Email, tasks.Invalid) {
	var bad tasks.Invalid
	m := tasks.Email{
		To: in.To, Cc: in.Cc, ReplyTo: in.ReplyTo, Subject: in.Subject, Text: in.Text, HTML: in.HTML,
		Template: in.Template, Data: in.Data, Locale: in.Locale,
		Headers: in.Headers, Category: in.Category, Urgent: in.Urgent, Sink: in.Sink,
	}
	if in.Email != "" {
		m.To = []string{in.Email}
	}
	if in.Message != "" {
		m.Text = in.Message
	}
	for i, file := range in.Attachments {
		content, err := base64.StdEncoding.DecodeString(file.Content)
		if err != nil {
			bad.Add(fmt.Sprintf("attachments[%d].content", i), "is not base64")
		}
		m.Attachments = append(m.Attachments, tasks.Attachment{
			ID: file.ID, Content: content, Name: file.Name, ContentType: file.ContentType, Inline: file.Inline, ContentID: file.ContentID,
		})
	}
	return m, bad
}

// payload is one recipient's.
type payload struct {
	recipient string
	json      []byte
}

// payloads makes a payload for each recipient. Whether the addresses are good
// is not asked here: a bad one is found where all the fields are checked.
func (in *emailRequest) payloads(m tasks.Email) ([]payload, error) {
	named := slices.Concat(m.To, m.Cc)
	if len(named) == 0 || len(named) > tasks.MaxRecipients {
		named = []string{""} // one job, which is refused for that
	}
	var out []payload
	seen := make(map[string]bool, len(named))
	for _, addr := range named {
		recipient := normalised(addr)
		if seen[recipient] {
			continue
		}
		seen[recipient] = true
		m.Rcpt = addr
		raw, err := encodeJSON(m)
		if err != nil {
			return nil, fmt.Errorf("encoding the mail: %w", err)
		}
		out = append(out, payload{recipient, raw})
		if total := len(raw) * len(named); total > maxMailBytes && len(named) > 1 {
			return nil, job.Invalid(tasks.Invalid{{Field: "to", Problem: fmt.Sprintf(
				"names so many recipients that their mails take %d bytes together, the most is %d", total, maxMailBytes)}})
		}
	}
	return out, nil
}

// normalised is the address as jobs are searched by, or what was given where
// it is none.
func normalised(addr string) string {
	if normal, err := mail.Normalise(addr); err == nil {
		return normal
	}
	return strings.ToLower(strings.TrimSpace(addr))
}

// renamed names the fields of an error as the request does.
func (in *emailRequest) renamed(err error) error {
	return renameFields(err, func(field string) string {
		short := len(in.To) == 0
		switch {
		case field == "rcpt":
			return "" // it was made of to or cc, which is complained of as well
		case short && (field == "to" || field == "to[0]"):
			return "email"
		case field == "text" && (in.Message != "" || short && in.Text == ""):
			return "message"
		case field == "queue":
			return "priority"
		case field == "run_at":
			return "send_at"
		}
		return field
	})
}

// renameFields returns err with the names that its fields have in a request
// whose own fields the payload's are: without "payload.", and then as name
// says. An empty one drops the field, unless it is the only one.
func renameFields(err error, name func(string) string) error {
	var e *job.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return err
	}
	var out tasks.Invalid
	for _, f := range e.Fields {
		if f.Field == "payload" {
			f.Field = "body"
		}
		if n := name(strings.TrimPrefix(f.Field, "payload.")); n != "" {
			out.Add(n, f.Problem)
		}
	}
	if len(out) == 0 {
		return err
	}
	return job.Invalid(out)
}
