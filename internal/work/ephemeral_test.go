package work

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

func ephemeralTask() job.Task {
	return job.Task{ID: job.NewID(), Type: ephemeralType.Name, Queue: "default", Payload: []byte(`{"n":1}`)}
}

func TestEphemeral(t *testing.T) {
	for _, test := range []struct {
		name    string
		outcome job.Outcome
		again   time.Duration
		err     string
		skip    bool
	}{
		{"done", job.Succeeded("ok"), 0, "", false},
		{"temporary", job.TemporaryFailure("no"), 0, "no", false},
		{"permanent", job.PermanentFailure("never"), 0, "never", true},
		{"rate limited", job.Outcome{Kind: job.OutcomeRateLimited, After: 3 * time.Second}, 3 * time.Second, "", false},
		{"rate limited for no time", job.Outcome{Kind: job.OutcomeRateLimited}, minPause, "", false},
		{"suppressed", job.Outcome{Kind: job.OutcomeSuppressed, Message: "on the list"}, 0, "on the list", true},
		{"ambiguous", job.Outcome{Kind: job.OutcomeAmbiguous, Message: "who knows"}, 0, "who knows", false},
		{"with an effect", job.Outcome{Kind: job.OutcomeDone, Effects: []job.Effect{inbox.Notification{}}}, 0, "cannot have a notification", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, func(ctx context.Context, run *Run) job.Outcome {
				if err := run.PointOfNoReturn(ctx); err != nil {
					t.Error(err)
				}
				return test.outcome
			})
			v := r.Handle(t.Context(), ephemeralTask())
			checkFailure(t, v, test.err, test.skip)
			if v.Again != (test.again > 0) || v.After != test.again {
				t.Errorf("verdict %+v", v)
			}
			if n := len(r.store.called("Claim")) + len(r.store.called("PassNoReturn")) + len(r.store.called("Settle")); n != 0 {
				t.Errorf("the database was asked %d times", n)
			}
		})
	}
}

func checkFailure(t *testing.T, v job.Verdict, says string, skip bool) {
	t.Helper()
	if (v.Err != nil) != (says != "") || v.Err != nil && !strings.Contains(v.Err.Error(), says) || v.Skip != skip {
		t.Errorf("verdict %+v, want the error %q, skip %t", v, says, skip)
	}
}

func TestEphemeralRefused(t *testing.T) {
	for name, test := range map[string]struct {
		alter func(*job.Task)
		says  string
		over  bool
	}{
		"unknown type": {func(t *job.Task) { t.Type = "fax:send" }, `no handler for job type "fax:send"`, false},
		"durable type": {func(t *job.Task) { t.Type = probeType.Name }, "is durable", true},
		"bad payload":  {func(t *job.Task) { t.Payload = []byte(`{"m":1}`) }, "m is not a field", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(context.Context, *Run) job.Outcome {
				t.Error("the handler was called")
				return job.Outcome{}
			})
			task := ephemeralTask()
			test.alter(&task)
			checkFailure(t, r.Handle(t.Context(), task), test.says, test.over)
		})
	}
}

func TestEphemeralPanics(t *testing.T) {
	r := newRig(t, func(context.Context, *Run) job.Outcome { panic("ouch") })
	checkFailure(t, r.Handle(t.Context(), ephemeralTask()), "ouch", false)
}

// TestEphemeralEnds covers the reasons that an ephemeral handler is stopped
// for, shutdown aside.
func TestEphemeralEnds(t *testing.T) {
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, untilEnd)
			checkFailure(t, r.Handle(t.Context(), ephemeralTask()), "exceeded its deadline", false)
		})
	})
	t.Run("operator", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(ctx context.Context, run *Run) job.Outcome { return untilEnd(ctx, run) })
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			time.AfterFunc(time.Second, cancel)
			checkFailure(t, r.Handle(ctx, ephemeralTask()), "canceled", true)
		})
	})
	t.Run("engine's time limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, untilEnd)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			checkFailure(t, r.Handle(ctx, ephemeralTask()), "deadline exceeded", false)
		})
	})
}

// TestEphemeralHold: there is no job to be held, so it fails for good.
func TestEphemeralHold(t *testing.T) {
	typ := tasks.Type{Name: "x", OnAmbiguous: tasks.Hold, Ephemeral: true}
	checkFailure(t, ephemeralVerdict(typ, job.Outcome{Kind: job.OutcomeAmbiguous, Message: "who knows"}), "who knows", true)
}
