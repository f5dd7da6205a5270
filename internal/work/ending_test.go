package work

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// TestInterruptions holds every cell of the matrix: why a run ended, by
// whether it had passed its point of no return.
func TestInterruptions(t *testing.T) {
	ambiguous := func(words string) cell {
		return cell{state: job.Waiting, charged: 1, code: job.CodeAmbiguous, says: "interrupted past its point of no return: " + words}
	}
	for _, test := range []struct {
		name         string
		interrupt    func(r *rig, id job.ID)
		before, past cell
	}{
		{
			"shutdown",
			func(r *rig, _ job.ID) {
				go func() { _ = r.Shutdown(context.Background()) }()
			},
			cell{state: job.Waiting, says: "the worker is shutting down"},
			ambiguous("the worker is shutting down"),
		}, {
			"cancel requested",
			func(r *rig, id job.ID) { r.alter(id, requestCancel) },
			cell{state: job.Cancelled, code: job.CodeCancelled, says: "the job's cancellation was requested"},
			// Its settlement knows of the request: it does not run again.
			cell{state: job.Cancelled, charged: 1, code: job.CodeAmbiguous, says: "interrupted past its point of no return: the job's cancellation was requested"},
		}, {
			"deadline",
			func(*rig, job.ID) {},
			cell{state: job.Waiting, charged: 1, code: job.CodeTemporary, says: "the attempt exceeded its deadline of 2m0s"},
			ambiguous("the attempt exceeded its deadline of 2m0s"),
		}, {
			"lease not extended in time",
			func(r *rig, _ job.ID) { r.store.on("Extend", away) },
			cell{state: job.Running, left: true},
			ambiguous("the run lost its lease"),
		}, {
			"lease taken over",
			func(r *rig, id job.ID) {
				r.alter(id, func(j *job.Job, now time.Time) { bury(j, now); j.State, j.Runs = job.Running, j.Runs+1 })
			},
			cell{state: job.Running, left: true},
			cell{state: job.Running, late: true, code: job.CodeAmbiguous, charged: -1, says: "ambiguous, after its lease was given up: interrupted past its point of no return: the run lost its lease"},
		},
	} {
		t.Run(test.name+"/before", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test.before.check(t, untilEnd, test.interrupt) })
		})
		t.Run(test.name+"/past", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test.past.check(t, pastUntilEnd, test.interrupt) })
		})
	}
}

// cell is what an interrupted run comes to.
type cell struct {
	state   job.State
	charged int // attempts; -1 for not looked at
	code    job.Code
	says    string
	left    bool // nothing was recorded
	late    bool // it was only recorded as an event
}

func (c cell) check(t *testing.T, h handler, interrupt func(*rig, job.ID)) {
	r := newRig(t, h)
	task := r.accept(probeType.Type, probe{})
	verdict := r.handle(task)
	synctest.Wait()
	if r.find(task.ID).State != job.Running {
		t.Fatalf("the job is %s", r.find(task.ID).State)
	}
	interrupt(r, task.ID)
	v := <-verdict

	j, e := r.find(task.ID), r.last(task.ID)
	if j.State != c.state {
		t.Errorf("the job is %s, want %s", j.State, c.state)
	}
	if c.charged >= 0 && j.Attempts != c.charged {
		t.Errorf("%d attempts are charged, want %d", j.Attempts, c.charged)
	}
	switch {
	case c.left:
		if e.Kind == job.EventSettled || e.Kind == job.EventLate {
			t.Errorf("something was recorded: %+v", e)
		}
		if !v.Again || v.After < minPause || v.After > leaseTime || v.Reason != "left" {
			t.Errorf("verdict %+v", v)
		}
		return
	case c.late && e.Kind != job.EventLate, !c.late && e.Kind != job.EventSettled:
		t.Errorf("the last event is %+v", e)
	}
	if e.Code != c.code || e.Message != c.says {
		t.Errorf("the event has code %q and says %q,\nwant %q and %q", e.Code, e.Message, c.code, c.says)
	}
	if again := c.state == job.Waiting; v.Again != again || v.Err != nil {
		t.Errorf("verdict %+v", v)
	}
}

// TestPointOfNoReturnRefused has the database refuse the fenced write.
func TestPointOfNoReturnRefused(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		cause error
		state job.State
		code  job.Code
		left  bool
	}{
		{"run taken over", job.Errorf(job.CodeConflict, "the run was given up"), ErrLeaseLost, job.Running, "", true},
		{"cancel requested", job.Errorf(job.CodeCancelled, "cancel"), ErrCancelRequested, job.Cancelled, job.CodeCancelled, false},
		{"database away", errAway, errAway, job.Waiting, job.CodeTemporary, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(ctx context.Context, run *Run) job.Outcome {
					err := run.PointOfNoReturn(ctx)
					if !errors.Is(err, test.cause) {
						t.Errorf("the handler was told %v", err)
					}
					if ctx.Err() == nil {
						t.Error("the handler's context goes on")
					}
					return Interrupted(err)
				})
				r.store.on("PassNoReturn", func(context.Context) error { return test.err })
				task := r.accept(probeType.Type, probe{})
				v := r.Handle(t.Context(), task)
				j := r.find(task.ID)
				if j.State != test.state || j.Code != test.code {
					t.Errorf("the job is %s with code %q, want %s with %q", j.State, j.Code, test.state, test.code)
				}
				if (v.Reason == "left") != test.left {
					t.Errorf("verdict %+v", v)
				}
			})
		})
	}
}

// TestPointOfNoReturnTooLate passes the write, but not the end of the attempt.
func TestPointOfNoReturnTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, run *Run) job.Outcome {
			err := run.PointOfNoReturn(context.WithoutCancel(ctx))
			if !errors.Is(err, ErrCancelRequested) {
				t.Errorf("the handler was told %v", err)
			}
			return Interrupted(err)
		})
		task := r.accept(probeType.Type, probe{})
		// The request comes while the write is under way, which succeeds.
		r.store.on("PassNoReturn", func(context.Context) error {
			r.leases.all()[0].end(ErrCancelRequested)
			return nil
		})
		r.Handle(t.Context(), task)
		if j := r.find(task.ID); j.State != job.Cancelled {
			t.Errorf("the job is %s: it was stopped before its effect", j.State)
		}
	})
}

// TestHandlerKnowsBest has handlers say for sure what happened though their
// context had ended and their point of no return was behind them.
func TestHandlerKnowsBest(t *testing.T) {
	for _, test := range []struct {
		outcome job.Outcome
		want    job.State
	}{
		{job.Succeeded("250 ok"), job.Done},
		{job.PermanentFailure("550 no"), job.Failed},
		{job.TemporaryFailure("451 later"), job.Waiting},
		{job.Outcome{Kind: job.OutcomeSuppressed}, job.Suppressed},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(ctx context.Context, run *Run) job.Outcome {
				if o := pastUntilEnd(ctx, run); o.Kind != interrupted {
					t.Error("not interrupted")
				}
				return test.outcome
			})
			task := r.accept(probeType.Type, probe{})
			r.Handle(t.Context(), task)
			if j := r.find(task.ID); j.State != test.want || j.Message != test.outcome.Message {
				t.Errorf("the job is %s and says %q, want %s and %q", j.State, j.Message, test.want, test.outcome.Message)
			}
		})
	}
}

func TestOwnTimeLimitIsAFailedAttempt(t *testing.T) {
	r := newRig(t, func(context.Context, *Run) job.Outcome { return Interrupted(errors.New("my server is slow")) })
	task := r.accept(probeType.Type, probe{})
	r.Handle(t.Context(), task)
	if j := r.find(task.ID); j.State != job.Waiting || j.Attempts != 1 || j.Message != "my server is slow" {
		t.Errorf("the job is %s after %d attempts and says %q", j.State, j.Attempts, j.Message)
	}
}

func TestNoOutcome(t *testing.T) {
	r := newRig(t, func(context.Context, *Run) job.Outcome { return job.Outcome{} })
	task := r.accept(probeType.Type, probe{})
	r.Handle(t.Context(), task)
	if j := r.find(task.ID); j.State != job.Failed || j.Message != "its handler returned no outcome" {
		t.Errorf("the job is %s and says %q", j.State, j.Message)
	}
}

func TestPanic(t *testing.T) {
	for name, test := range map[string]struct {
		past bool
		code job.Code
	}{"before": {false, job.CodeTemporary}, "past": {true, job.CodeAmbiguous}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(ctx context.Context, run *Run) job.Outcome {
				if test.past {
					if err := run.PointOfNoReturn(ctx); err != nil {
						t.Error(err)
					}
				}
				panic("a wrench in the works")
			})
			task := r.accept(probeType.Type, probe{})
			v := r.Handle(t.Context(), task)
			j := r.find(task.ID)
			if j.State != job.Waiting || j.Attempts != 1 || j.Code != test.code || !strings.Contains(j.Message, "a wrench in the works") {
				t.Errorf("the job is %s after %d attempts with code %q and says %q", j.State, j.Attempts, j.Code, j.Message)
			}
			if !v.Again {
				t.Errorf("verdict %+v", v)
			}
			if r.logs.Count("level=ERROR") != 1 || !strings.Contains(r.logs.String(), "ending_test.go") {
				t.Errorf("no stack in the log:\n%s", r.logs)
			}
		})
	}
}

func TestLongMessageIsClipped(t *testing.T) {
	r := newRig(t, func(context.Context, *Run) job.Outcome {
		return job.TemporaryFailure("%s", strings.Repeat("é", maxMessage))
	})
	task := r.accept(probeType.Type, probe{})
	r.Handle(t.Context(), task)
	if n := len(r.find(task.ID).Message); n > maxMessage+len("…") {
		t.Errorf("%d bytes are kept", n)
	}
}
