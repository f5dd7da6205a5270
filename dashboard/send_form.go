package dashboard

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/tasks"
)

// maxSendForm bounds the form of what is sent, in bytes: a payload of the most
// that one may have, as forms write it.
const maxSendForm = 3*tasks.MaxPayload + maxForm

// sendForm is what is to be sent, as it was filled in.
type sendForm struct {
	values url.Values
	Kind   string // mail or notification
	Once   string // names this form: it is carried out once

	Template  *template.Template // that the mail is rendered from; nil for none
	Fields    []dataField        // of its data; none where its schema lists none
	Templates []string
	Types     []string // of notifications

	Problem string              // why it was not sent
	Bad     map[string][]string // what is wrong, by field
	Preview *mailPreview
}

// Get is a field as it was filled in.
func (f sendForm) Get(name string) string { return f.values.Get(name) }

// Choice is Get for a field that is one of several, the first unless it was filled in.
func (f sendForm) Choice(name, first string) string {
	if f.values.Has(name) {
		return f.values.Get(name)
	}
	return first
}

// Wrong is what is wrong in each of the fields.
func (f sendForm) Wrong(fields ...string) (out []wrongField) {
	for _, field := range fields {
		out = append(out, wrongField{field, f.Bad[field]})
	}
	return out
}

// TemplateName is what the mail is rendered from, empty for nothing.
func (f sendForm) TemplateName() string {
	if f.Template == nil {
		return ""
	}
	return f.Template.Name
}

// newSendForm is the form as values fill it in.
func (d *Dashboard) newSendForm(values url.Values) (*sendForm, error) {
	f := &sendForm{values: values, Kind: values.Get("kind"), Once: values.Get("once"), Types: tasks.NotificationTypes, Bad: map[string][]string{}}
	if f.Kind != "notification" {
		f.Kind = "mail"
	}
	if f.Once == "" {
		f.Once = rand.Text()
	}
	for _, t := range d.Templates.List() {
		f.Templates = append(f.Templates, t.Name)
	}
	if name := values.Get("template"); name != "" && f.Kind == "mail" {
		var err error
		if f.Template, err = d.Templates.Find(name); err != nil {
			return f, job.Errorf(job.CodeNotFound, "there is no template %.100q", name)
		}
		f.Fields = dataFields(f.Template, values)
	}
	return f, nil
}

// readSendForm reads what was sent.
func (d *Dashboard) readSendForm(w http.ResponseWriter, r *http.Request) (*sendForm, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxSendForm)
	if err := r.ParseForm(); err != nil {
		return nil, job.Errorf(job.CodeInvalid, "the form cannot be read, or is larger than %d MiB", maxSendForm>>20)
	}
	return d.newSendForm(r.PostForm)
}

func (f *sendForm) wrong(field, format string, args ...any) {
	f.Bad[field] = append(f.Bad[field], fmt.Sprintf(format, args...))
}

// wrongBy notes what an error says of fields, or else of the whole. It reports
// whether the error is the form's fault.
func (f *sendForm) wrongBy(err error) bool {
	var fields tasks.Invalid
	var e *job.Error
	switch {
	case errors.As(err, &fields):
	case errors.As(err, &e) && len(e.Fields) > 0:
		fields = e.Fields
	case errors.As(err, &e) && e.Code == job.CodeConflict:
		// Back in the browser and changed: another form than the one that was sent.
		f.Problem, f.Once = "This form was sent before, and said something else. Send it again to send this too.", rand.Text()
		return true
	default:
		return false
	}
	for _, bad := range fields {
		f.wrong(sendField(bad.Field), "%s", bad.Problem)
	}
	return true
}

// sendField is the field of the form that one of a payload is filled in by.
func sendField(name string) string {
	name = strings.TrimPrefix(name, "payload.")
	name, inData := strings.CutPrefix(name, "data.")
	if i := strings.IndexAny(name, ".["); i >= 0 {
		name = name[:i]
	}
	switch {
	case inData:
		return "data." + name
	case name == "rcpt":
		return "to"
	case name == "queue":
		return "priority"
	case name == "run_at":
		return "at"
	case name == "receiverId" || name == "room":
		return "receiver"
	}
	return name
}

// submissions are the jobs that the form asks for. What is wrong with it is in
// Bad then.
func (f *sendForm) submissions() []job.Submission {
	base := job.Submission{Type: tasks.EmailSend.Name}
	f.timing(&base)
	if f.Kind == "notification" {
		base.Type = tasks.NotificationSend.Name
		return f.withPayloads(base, f.notification())
	}
	if f.Get("priority") == "bulk" {
		base.Queue = "bulk"
	}
	m := tasks.Email{Subject: f.Get("subject"), Text: f.Get("text"), HTML: f.Get("html"), Category: f.Get("category")}
	if f.Template != nil {
		m.Template, m.Locale, m.Data = f.Template.Name, f.Get("locale"), f.data()
		m.Text, m.HTML = "", ""
	}
	var payloads []any
	for _, to := range f.recipients() {
		one := m
		one.To = []string{to} // nobody sees who else got it
		payloads = append(payloads, one)
	}
	return f.withPayloads(base, payloads...)
}

func (f *sendForm) withPayloads(base job.Submission, payloads ...any) (out []job.Submission) {
	for _, p := range payloads {
		raw, err := json.Marshal(p)
		if err != nil { // of data that is no JSON, which is told already
			return nil
		}
		base.Payload = raw
		out = append(out, base)
	}
	return out
}

// recipients are the addresses that the mail is for, each once.
func (f *sendForm) recipients() (out []string) {
	seen := map[string]bool{}
	for _, to := range strings.FieldsFunc(f.Get("to"), func(r rune) bool { return strings.ContainsRune(",;\r\n", r) }) {
		to = strings.TrimSpace(to)
		if to == "" {
			continue
		}
		normal, err := mail.Normalise(to)
		switch {
		case err != nil:
			f.wrong("to", "names %.100q, which is not a mail address", to)
		case !seen[normal]:
			seen[normal] = true
			out = append(out, to)
		}
	}
	switch {
	case len(out) > tasks.MaxRecipients:
		f.wrong("to", "names %d people, the most is %d", len(out), tasks.MaxRecipients)
	case len(out) == 0 && len(f.Bad["to"]) == 0:
		f.wrong("to", "must name somebody")
	}
	return out
}

func (f *sendForm) notification() tasks.Notification {
	n := tasks.Notification{Message: f.Get("message"), Type: f.Get("type"), Category: f.Get("category")}
	switch name := strings.TrimSpace(f.Get("receiver")); {
	case f.Get("for") == "everyone":
		n.Everyone = true
	case name == "":
		f.wrong("receiver", "must be given")
	case f.Get("for") == "room":
		n.Room = name
	default:
		n.ReceiverID = name
	}
	if data := strings.TrimSpace(f.Get("data")); data != "" {
		if n.Data = json.RawMessage(data); !json.Valid(n.Data) {
			n.Data = nil // for what else is wrong to be found
			f.wrong("data", "must be JSON")
		}
	}
	return n
}

// target names whom it is for, in the audit's words; "" for several.
func (f *sendForm) target() string {
	name := strings.TrimSpace(f.Get("receiver"))
	switch to := f.recipients(); {
	case f.Kind == "mail" && len(to) == 1:
		return to[0]
	case f.Kind == "mail":
		return ""
	case f.Get("for") == "everyone":
		return "everyone"
	case f.Get("for") == "room":
		return "room:" + name
	}
	return "user:" + name
}

// timing reads when it is to be sent.
func (f *sendForm) timing(sub *job.Submission) {
	switch f.Get("when") {
	case "delay":
		minutes, err := strconv.Atoi(f.Get("delay"))
		if err != nil || minutes < 1 || minutes > int(job.MaxDelay/time.Minute) {
			f.wrong("delay", "must be from 1 to %d minutes", job.MaxDelay/time.Minute)
			return
		}
		sub.Delay = time.Duration(minutes) * time.Minute
	case "at":
		var err error
		if sub.RunAt, err = readTime(f.Get("at")); err != nil {
			f.wrong("at", "must be a time, in UTC")
		}
	}
}

// data is the template's, from its fields or as JSON.
func (f *sendForm) data() json.RawMessage {
	if len(f.Fields) == 0 {
		raw := json.RawMessage(bytes.TrimSpace([]byte(f.Get("data"))))
		if len(raw) > 0 && !json.Valid(raw) {
			f.wrong("data", "must be JSON")
			return nil
		}
		return raw
	}
	out := map[string]json.RawMessage{}
	for _, field := range f.Fields {
		if field.Value == "" {
			continue
		}
		raw, err := field.json()
		if err != nil {
			f.wrong(field.Name, "%s", err)
			continue
		}
		out[field.name] = raw
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil // what is in it was JSON
	}
	return raw
}

// caller is who sends it: the same form sent twice makes no more jobs.
func (f *sendForm) caller(by string, subs []job.Submission) job.Caller {
	hash := sha256.New()
	for _, s := range subs {
		// A hash never errs.
		_, _ = fmt.Fprintf(hash, "%s\n%s\n%d\n%d\n%d\n", s.Type, s.Queue, s.Delay, s.RunAt.UnixMilli(), len(s.Payload))
		_, _ = hash.Write(s.Payload)
	}
	return job.Caller{Name: by, IdempotencyKey: "form:" + f.Once, BodyHash: hash.Sum(nil)}
}
