package work

import (
	"context"
	"fmt"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/tasks"
)

// addFiles adds what the mail carries, stored files too, and returns what has to be
// called when it has gone. It errs with the code of Files.
func addFiles(ctx context.Context, files Files, m *mail.Message, e *tasks.Email) (release func(), err error) {
	var stored []string
	for _, a := range e.Attachments {
		if a.ID != "" {
			stored = append(stored, a.ID)
		}
	}
	contents, release := map[string][]byte(nil), func() {}
	if stored != nil {
		if contents, release, err = files.Fetch(ctx, stored); err != nil {
			return nil, fmt.Errorf("fetching the attachments: %w", err)
		}
	}
	for _, a := range e.Attachments {
		content := a.Content
		if a.ID != "" {
			content = contents[a.ID]
		}
		m.Attachments = append(m.Attachments, mail.Attachment{
			Name: a.Name, ContentType: a.ContentType, Content: content, ContentID: a.ContentID,
		})
	}
	return release, nil
}

// fileOutcome is the outcome of a mail whose files could not be fetched.
func fileOutcome(ctx context.Context, err error) job.Outcome {
	switch {
	case job.CodeOf(err) == job.CodeNotFound:
		return job.PermanentFailure("%v", err)
	case job.CodeOf(err) == job.CodeRateLimited:
		return job.Outcome{Kind: job.OutcomeRateLimited, Message: err.Error(), After: jittered(askAgain)}
	case ctx.Err() != nil:
		return Interrupted(err)
	}
	return job.TemporaryFailure("%v", err)
}
