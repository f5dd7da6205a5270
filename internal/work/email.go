package work

import (
	"context"
	"errors"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/tasks"
)

// Builtin binds the handlers of the job types that Postrider comes with. The
// handler of a type of your own is added here.
func Builtin(sender *mail.Sender) []Binding {
	return []Binding{Email(sender), Notification(), Heartbeat(), Noop(), NoopEphemeral()}
}

// Email sends a job's mail through the sender. All attempts at a job are the
// same mail: one Message-ID, one Date.
func Email(sender *mail.Sender) Binding {
	return On(tasks.EmailSend, func(ctx context.Context, run *Run, e *tasks.Email) job.Outcome {
		pass, o, early := run.early(limit.OfRecipient(e.Rcpt))
		if early {
			return o
		}
		receipt, err := sender.Send(ctx, message(run, e), run.PointOfNoReturn)
		if err != nil {
			if o = mailOutcome(err); o.Kind == job.OutcomeRateLimited {
				pass.Undo() // no provider had time for it
			}
			return o
		}
		o = job.Succeeded("%s: %s", receipt.Provider, receipt.Reply)
		o.ReplyCode = receipt.Code
		return o
	})
}

func message(run *Run, e *tasks.Email) mail.Message {
	m := mail.Message{
		ID: string(run.Job.ID), Date: run.Job.CreatedAt, Category: e.Category,
		Rcpt: e.Rcpt, To: e.To, Cc: e.Cc, ReplyTo: e.ReplyTo,
		Subject: e.Subject, Text: e.Text, HTML: e.HTML, Headers: e.Headers,
	}
	for _, a := range e.Attachments {
		m.Attachments = append(m.Attachments, mail.Attachment{Name: a.Name, ContentType: a.ContentType, Content: a.Content})
	}
	return m
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
