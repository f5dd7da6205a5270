package dashboard

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/tasks"
)

const sendRoot = root + "/send"

const (
	// framePolicy lets the page show a mail in a frame.
	framePolicy = pagePolicy + "; frame-src 'self'"
	// mailPolicy is for a mail's HTML, which nobody here has written: it has styles
	// of its own, runs nothing, asks nobody for anything, and is of no origin.
	mailPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
	// renderLimit bounds how long a preview may take.
	renderLimit = 5 * time.Second
)

// mailPreview is a mail as its first recipient would get it.
type mailPreview struct {
	Subject, Text, HTML string
	Headers             map[string]string
}

// sendPage is the form, empty but for what its address fills in.
func (d *Dashboard) sendPage(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	values.Del("once") // an address that was passed on is no form that was sent
	f, err := d.newSendForm(values)
	if err == nil && !userOf(r).Admin() {
		err = errViewer
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.showSend(w, r, http.StatusOK, f)
}

func (d *Dashboard) showSend(w http.ResponseWriter, r *http.Request, status int, f *sendForm) {
	w.Header().Set("Content-Security-Policy", framePolicy)
	d.render(w, r, status, "send.html", "Send", f)
}

// sendCommand sends what the form says, or shows what that would be.
func (d *Dashboard) sendCommand(w http.ResponseWriter, r *http.Request) {
	if !userOf(r).Admin() {
		d.refuse(w, r, errViewer)
		return
	}
	f, err := d.readSendForm(w, r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if f.values.Has("choose") {
		d.showSend(w, r, http.StatusOK, f)
		return
	}
	subs := f.submissions()
	if err := d.tryMail(r.Context(), f, subs); err != nil {
		d.refuse(w, r, err)
		return
	}
	if len(f.Bad) > 0 {
		f.Problem = "Nothing was sent: something is wrong below."
		d.showSend(w, r, http.StatusUnprocessableEntity, f)
		return
	}
	if f.values.Has("preview") {
		d.showSend(w, r, http.StatusOK, f)
		return
	}
	var next string
	doing := d.act(w, r, audit.JobSend, f.target())
	doing.Count = len(subs)
	doing.Detail = strings.TrimSpace(f.Kind + " " + f.Get("template"))
	err = d.Audit.Steps(r.Context(), doing, func(ctx context.Context) (n int, err error) {
		if next, err = d.sendAll(ctx, f, subs, actor(userOf(r))); err == nil {
			n = len(subs)
		}
		return n, err
	})
	if f.wrongBy(err) {
		if f.Problem == "" {
			f.Problem = "Nothing was sent: something is wrong below."
		}
		status, _ := d.told(r, err)
		d.showSend(w, r, status, f)
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user sent by the form", "user", userOf(r).Name, "kind", f.Kind, "jobs", len(subs))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// sendAll accepts the jobs, all or none, and says where they can be seen.
func (d *Dashboard) sendAll(ctx context.Context, f *sendForm, subs []job.Submission, by string) (next string, err error) {
	who := f.caller(by, subs)
	if len(subs) > 1 {
		got, err := d.Jobs.AcceptAll(ctx, who, subs)
		return jobsRoot + "?batch_id=" + string(got.Base), err
	}
	got, err := d.Jobs.Accept(ctx, who, subs[0])
	if f.Kind == "mail" {
		return deliveryPath(got.Base), err
	}
	return jobPath(got.Base), err
}

// tryMail validates what is to be sent and renders a mail as its first recipient
// would get it. What is wrong with the form is in its Bad then; the error is not
// its fault.
func (d *Dashboard) tryMail(ctx context.Context, f *sendForm, subs []job.Submission) error {
	ctx, cancel := context.WithTimeout(ctx, renderLimit)
	defer cancel()
	if len(subs) > 0 {
		if _, err := d.Jobs.Check(ctx, subs[0], "dashboard"); err != nil && !f.wrongBy(err) {
			return err
		}
	}
	if f.Kind != "mail" || len(f.Bad) > 0 {
		return nil
	}
	link := ""
	if !d.Categories.Essential(f.Get("category")) {
		link = template.ExampleUnsubscribeURL
	}
	p := &mailPreview{Subject: f.Get("subject"), Text: f.Get("text"), HTML: f.Get("html")}
	if f.Template != nil {
		_, m, err := f.Template.Render(ctx, f.Get("locale"), f.data(), link)
		var bad tasks.Invalid
		switch {
		case errors.As(err, &bad):
			f.wrongBy(err)
			return nil
		case err != nil:
			return job.Wrap(job.CodeTemporary, err, "the mail could not be rendered in time")
		}
		if p.Subject == "" {
			p.Subject = m.Subject
		}
		p.Text, p.HTML = m.Text, m.HTML
	}
	headers, err := mail.HeadersOf(mail.Message{
		ID: "preview", From: d.MailFrom, Rcpt: f.recipients()[0], Subject: p.Subject, HTML: p.HTML, Text: p.Text, UnsubscribeURL: link,
	})
	if err != nil {
		return err
	}
	p.Headers = headers
	f.Preview = p
	return nil
}

// mailFrame is a preview's HTML, alone in a frame.
func (d *Dashboard) mailFrame(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxSendForm)
	if err := r.ParseForm(); err != nil || !userOf(r).Admin() {
		d.refuse(w, r, errViewer)
		return
	}
	w.Header().Set("Content-Security-Policy", mailPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(r.PostForm.Get("html"))) // a browser that has left needs no mail
}
