package work

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Accepter takes jobs; job.Service does.
type Accepter interface {
	AcceptAll(ctx context.Context, who job.Caller, subs []job.Submission) (job.Accepted, error)
}

// Reminder makes of a reminder one mail job for each of its recipients, all or
// none. They are accepted under a key made of the reminder's own id, so that a
// second run of it mails nobody twice.
func Reminder(jobs Accepter) Binding {
	return On(tasks.EmailReminder, func(ctx context.Context, run *Run, r *tasks.Reminder) job.Outcome {
		subs := make([]job.Submission, len(r.Recipients))
		for i, mail := range r.Mails() {
			payload, err := json.Marshal(mail)
			if err != nil {
				return job.PermanentFailure("writing the mail: %v", err)
			}
			subs[i] = job.Submission{Type: tasks.EmailSend.Name, Payload: payload}
		}
		hash := sha256.Sum256(run.Job.Payload)
		who := job.Caller{
			Name:           tasks.EmailReminder.Name, // no API key has a name with a colon
			IdempotencyKey: "reminder " + string(run.Job.ID), BodyHash: hash[:],
		}
		got, err := jobs.AcceptAll(ctx, who, subs)
		switch job.CodeOf(err) {
		case "":
			return job.Succeeded("%s accepted, batch %s", count(len(got.Jobs), "mail"), got.Base)
		case job.CodeInvalid, job.CodeConflict:
			return job.PermanentFailure("the mails were refused: %v", err)
		}
		if ctx.Err() != nil {
			return Interrupted(err)
		}
		return job.TemporaryFailure("accepting the mails: %v", err)
	})
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
