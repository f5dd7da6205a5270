package work

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/tasks"
)

// Builtin binds the handlers of the job types that Postrider comes with. The
// handler of a type of your own is added here.
func Builtin(m Mail) []Binding {
	return []Binding{Email(m), Feedback(m.Feedback, m.Reader), Notification(m.Preferences), Heartbeat(), Noop(), NoopEphemeral()}
}

// Mail is what mails are sent with.
type Mail struct {
	Sender *mail.Sender
	// Templates has what jobs are pinned to.
	Templates Templates
	// Suppressed knows who gets none.
	Suppressed *suppress.Gate
	// Preferences know who wants which, and when; notifications ask them too.
	Preferences *recipient.Service
	Files       Files
	Links       *mail.Links // nil: mails have no link to unsubscribe
	// Feedback keeps what becomes of mails, and Reader reads it.
	Feedback mail.FeedbackLog
	Reader   feedback.Reader
}

// Files has what mails carry; an *attach.Keeper does.
type Files interface {
	// Fetch returns the contents of files by their ids, for one mail; release has
	// to be called when that has gone. Its error has job.CodeNotFound where one is
	// not there, job.CodeRateLimited where other mails' files take all the room.
	Fetch(ctx context.Context, ids []string) (files map[string][]byte, release func(), err error)
}

// Templates gives the editions that jobs are pinned to; a template.Shelf does.
type Templates interface {
	// Load errs with job.CodeNotFound where there is no edition of the hash.
	Load(ctx context.Context, hash string) (*template.Edition, error)
}

// askAgain is when a mail is looked at again of which nobody could tell whether
// it may go out.
const askAgain = 5 * time.Second

// Email sends a job's mail, as far as its recipient wants it now, rendered from
// the template that the job is pinned to, if any. All attempts at a job are the
// same mail: one Message-ID, one Date. An address of which the server says that it does not
// exist gets no more mail.
func Email(m Mail) Binding {
	return On(tasks.EmailSend, func(ctx context.Context, run *Run, e *tasks.Email) job.Outcome {
		if s, blocked, err := m.Suppressed.Blocking(ctx, e.Rcpt, e.Category); err != nil {
			return job.Outcome{Kind: job.OutcomeGivenBack, Message: fmt.Sprintf("asking whether the address is suppressed: %v", err), After: jittered(askAgain)}
		} else if blocked {
			return job.Outcome{Kind: job.OutcomeSuppressed, Message: s.String()}
		}
		// A digest shows what the mail would have said, and has a link of its own.
		show := func() (gathered, error) {
			err := render(ctx, m.Templates, e, "")
			return gathered{e.Category, e.Subject, e.Text}, err
		}
		if o, ended := preferred(ctx, run, m.Preferences.Mails, e, show); ended {
			return rehearsed(e, o)
		}
		link := template.LinkOf(m.Links, e, run.Job.ID)
		if err := render(ctx, m.Templates, e, link); err != nil {
			return renderOutcome(ctx, err)
		}
		var pass limit.Pass
		if !e.Sink { // which takes no server's time
			granted, o, early := run.early(limit.OfRecipient(e.Rcpt))
			if early {
				return o
			}
			pass = granted
		}
		msg := message(run, e)
		msg.UnsubscribeURL = link
		release, err := addFiles(ctx, m.Files, &msg, e)
		if err != nil {
			o := fileOutcome(ctx, err)
			if o.Kind == job.OutcomeRateLimited {
				pass.Undo()
			}
			return o
		}
		defer release()
		receipt, err := m.Sender.Send(ctx, msg, run.PointOfNoReturn)
		if err != nil {
			o := mailOutcome(err)
			if o.Kind == job.OutcomeRateLimited {
				pass.Undo() // no provider had time for it
			}
			o.Effects = suppressing(run, e, err)
			return o
		}
		if due := run.Job.DueAt; !due.IsZero() && !e.Sink {
			m.Sender.Measure(e.Category, due)
		}
		o := job.Succeeded("%s: %s", by(receipt), receipt.Reply)
		o.ReplyCode = receipt.Code
		return o
	})
}

// rehearsed is the outcome of a mail that is not to be sent now. One for the sink
// is not gathered either: its digest would go out.
func rehearsed(e *tasks.Email, o job.Outcome) job.Outcome {
	if !e.Sink || o.Kind != job.OutcomeDone {
		return o
	}
	return job.Succeeded("%s: it would be %s", mail.SinkProvider, o.Message)
}

// by names the server that took a mail.
func by(r mail.Receipt) string {
	if r.Host == "" || strings.HasPrefix(r.Host, r.Provider) {
		return r.Provider
	}
	return fmt.Sprintf("%s (%s)", r.Provider, r.Host)
}

// message is the job's mail. Its Date is when it was to go out first, which all
// attempts agree about; one of weeks ago, when the mail was asked for, would
// look like spam.
func message(run *Run, e *tasks.Email) mail.Message {
	date := run.Job.DueAt
	if date.IsZero() {
		date = run.Job.CreatedAt
	}
	return mail.Message{
		ID: string(run.Job.ID), Date: date, Category: e.Category,
		Sink: e.Sink,
		Rcpt: e.Rcpt, To: e.To, Cc: e.Cc, ReplyTo: e.ReplyTo,
		Subject: e.Subject, Text: e.Text, HTML: e.HTML, Headers: e.Headers,
	}
}

// suppressing is the effect of a refusal that blames the recipient's address.
func suppressing(run *Run, e *tasks.Email, err error) []job.Effect {
	var refused *mail.Error
	if !errors.As(err, &refused) || !refused.BadAddress {
		return nil
	}
	address, err := mail.Normalise(e.Rcpt)
	if err != nil {
		return nil
	}
	return []job.Effect{mail.Suppression{
		Address: address, Reason: mail.Bounce, Job: string(run.Job.ID), Note: mail.Note(fmt.Sprintf("%d %s", refused.Code, refused.Reply)),
	}}
}

// mailOutcome is the outcome of a mail that did not, or not surely, go out.
func mailOutcome(err error) job.Outcome {
	var e *mail.Error
	if !errors.As(err, &e) {
		return job.TemporaryFailure("%v", err)
	}
	o := job.Outcome{Message: e.Error(), ReplyCode: e.Code}
	switch e.Kind {
	case mail.Permanent:
		o.Kind = job.OutcomePermanent
	case mail.Ambiguous:
		o.Kind = job.OutcomeAmbiguous
	case mail.Deferred:
		o.Kind, o.After = job.OutcomeRateLimited, e.After
	case mail.Cancelled:
		return Interrupted(e)
	default:
		o.Kind = job.OutcomeTemporary
	}
	return o
}

// render fills in what the mail's template makes of its data.
func render(ctx context.Context, templates Templates, e *tasks.Email, unsubscribeURL string) error {
	if e.Template == "" {
		return nil
	}
	edition, err := templates.Load(ctx, e.TemplateHash)
	if err != nil {
		return fmt.Errorf("fetching the template %s: %w", e.Template, err)
	}
	m, err := edition.Render(ctx, e.Data, unsubscribeURL)
	if err != nil {
		return err
	}
	if e.Subject == "" {
		e.Subject = m.Subject
	}
	e.Text, e.HTML = m.Text, m.HTML
	return nil
}

// renderOutcome is the outcome of a mail that could not be rendered. The same
// data made a mail of the same template when the job was accepted: what fails
// now is the database, or a program of another release.
func renderOutcome(ctx context.Context, err error) job.Outcome {
	var bad tasks.Invalid
	switch {
	case errors.As(err, &bad):
		return job.PermanentFailure("rendering the mail: %v", err)
	case ctx.Err() != nil:
		return Interrupted(err)
	case job.CodeOf(err) == job.CodeTemporary:
		return job.Outcome{Kind: job.OutcomeGivenBack, Message: err.Error(), After: jittered(askAgain)}
	}
	return job.TemporaryFailure("%v", err)
}
