package work

import (
	"context"
	"fmt"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/tasks"
)

// addFiles adds what the mail carries, stored files too. It errs with the
// store's code.
func addFiles(ctx context.Context, files Files, m *mail.Message, e *tasks.Email) error {
	for i, a := range e.Attachments {
		content := a.Content
		if a.ID != "" {
			var err error
			if content, err = files.Read(ctx, a.ID); err != nil {
				return fmt.Errorf("fetching attachments[%d]: %w", i, err)
			}
		}
		m.Attachments = append(m.Attachments, mail.Attachment{
			Name: a.Name, ContentType: a.ContentType, Content: content, ContentID: a.ContentID,
		})
	}
	return nil
}

// fileOutcome is the outcome of a mail whose files could not be fetched.
func fileOutcome(ctx context.Context, err error) job.Outcome {
	switch {
	case job.CodeOf(err) == job.CodeNotFound:
		return job.PermanentFailure("%v", err)
	case ctx.Err() != nil:
		return Interrupted(err)
	}
	return job.TemporaryFailure("%v", err)
}
