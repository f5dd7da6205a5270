package work

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

type archiver func(ctx context.Context, until time.Time) (int, bool, error)

func (f archiver) Run(ctx context.Context, until time.Time) (int, bool, error) { return f(ctx, until) }

func TestChatArchive(t *testing.T) {
	for name, c := range map[string]struct {
		run      archiver
		state    job.State
		attempts int
		message  string
	}{
		"done":  {func(context.Context, time.Time) (int, bool, error) { return 7, false, nil }, job.Done, 1, "7 messages archived"},
		"more":  {func(context.Context, time.Time) (int, bool, error) { return 7, true, nil }, job.Waiting, 0, "7 messages archived, there are more"},
		"fails": {func(context.Context, time.Time) (int, bool, error) { return 7, false, errors.New("no") }, job.Waiting, 1, "7 messages archived: no"},
	} {
		r := newRigOver(t, newStore(), done, ChatArchive(archiver(func(ctx context.Context, until time.Time) (int, bool, error) {
			if ends, _ := ctx.Deadline(); !until.Before(ends) {
				t.Errorf("%s: it may go on to its deadline", name)
			}
			return c.run(ctx, until)
		})))
		task := r.accept(tasks.ChatArchive.Type, tasks.Archiving{})
		r.Handle(t.Context(), task)
		if j := r.find(task.ID); j.State != c.state || j.Attempts != c.attempts || !strings.HasPrefix(j.Message, c.message) {
			t.Errorf("%s: the job is %s after %d attempts: %s", name, j.State, j.Attempts, j.Message)
		}
	}
}
