package work

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

func TestOutcomes(t *testing.T) {
	backoff := probeType.Backoff
	for _, test := range []struct {
		name     string
		typ      tasks.Type
		outcome  job.Outcome
		state    job.State
		attempts int
		min, max time.Duration // of the verdict, where the job waits
	}{
		{"done", probeType.Type, job.Succeeded("ok"), job.Done, 1, 0, 0},
		{"temporary", probeType.Type, job.TemporaryFailure("no"), job.Waiting, 1, backoff.Base / 2, 2 * backoff.Base},
		{"temporary with a time", probeType.Type, job.Outcome{Kind: job.OutcomeTemporary, After: 7 * time.Minute}, job.Waiting, 1, 7 * time.Minute, 7 * time.Minute},
		{"permanent", probeType.Type, job.PermanentFailure("never"), job.Failed, 1, 0, 0},
		{"rate limited", probeType.Type, job.Outcome{Kind: job.OutcomeRateLimited, After: 3 * time.Second}, job.Waiting, 0, 3 * time.Second, 3 * time.Second},
		{"suppressed", probeType.Type, job.Outcome{Kind: job.OutcomeSuppressed}, job.Suppressed, 0, 0, 0},
		{"ambiguous, to resend", probeType.Type, job.Outcome{Kind: job.OutcomeAmbiguous}, job.Waiting, 1, backoff.Base / 2, 2 * backoff.Base},
		{"ambiguous, to hold", holdType.Type, job.Outcome{Kind: job.OutcomeAmbiguous}, job.Held, 1, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(context.Context, *Run) job.Outcome { return test.outcome })
				task := r.accept(test.typ, probe{})
				v := r.Handle(t.Context(), task)
				j := r.find(task.ID)
				if j.State != test.state || j.Attempts != test.attempts || j.Deaths != 0 {
					t.Errorf("the job is %s after %d attempts and %d deaths", j.State, j.Attempts, j.Deaths)
				}
				if v.Again != (test.max > 0) || v.After < test.min || v.After > test.max || v.Err != nil {
					t.Errorf("verdict %+v", v)
				}
				if n := r.metric("postrider_runs_total", string(test.outcome.Kind), test.typ.Name); n != 1 {
					t.Errorf("counted %v runs", n)
				}
				if n := r.metric("postrider_run_seconds", test.typ.Name); n != 1 {
					t.Errorf("timed %v runs", n)
				}
			})
		})
	}
}

func TestAttemptsAreUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		r := newRig(t, func(_ context.Context, run *Run) job.Outcome {
			attempts = append(attempts, run.Attempt())
			return job.TemporaryFailure("no")
		})
		task := r.accept(probeType.Type, probe{})
		v := r.Handle(t.Context(), task)
		for v.Again {
			time.Sleep(v.After + time.Millisecond)
			v = r.Handle(t.Context(), task)
		}
		if j := r.find(task.ID); j.State != job.Failed || j.Attempts != 3 || len(attempts) != 3 || attempts[2] != 3 {
			t.Errorf("the job is %s after %d attempts; the handler saw %v", j.State, j.Attempts, attempts)
		}
	})
}

func TestRefusedClaims(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(j *job.Job, now time.Time)
		reason  string
		after   time.Duration
	}{
		{"over", func(j *job.Job, _ time.Time) { j.State = job.Done }, "over", 0},
		{"held", func(j *job.Job, _ time.Time) { j.State = job.Held }, "over", 0},
		{"busy", func(j *job.Job, now time.Time) { j.State, j.LeaseUntil = job.Running, now.Add(17*time.Second) }, "busy", 17 * time.Second},
		{"busy no longer than a moment", func(j *job.Job, now time.Time) { j.State, j.LeaseUntil = job.Running, now.Add(time.Millisecond) }, "busy", minPause},
		{"not due", func(j *job.Job, now time.Time) { j.RunAt = now.Add(time.Hour) }, "not_due", time.Hour},
		{"dropped", func(j *job.Job, now time.Time) { j.ExpiresAt = now.Add(-time.Second) }, "dropped", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(context.Context, *Run) job.Outcome {
					t.Error("the handler was called")
					return job.Outcome{}
				})
				task := r.accept(probeType.Type, probe{})
				r.alter(task.ID, test.prepare)
				v := r.Handle(t.Context(), task)
				if v.Again != (test.after > 0) || v.After != test.after || v.Err != nil {
					t.Errorf("verdict %+v", v)
				}
				if r.metric("postrider_claims_refused_total", test.reason) != 1 {
					t.Error("not counted")
				}
			})
		})
	}
	t.Run("unknown", func(t *testing.T) {
		r := newRig(t, done)
		if v := r.Handle(t.Context(), job.Task{ID: job.NewID(), Dispatch: 1, Type: probeType.Name}); !isAck(v) {
			t.Errorf("verdict %+v", v)
		}
		if r.logs.Count("does not exist") != 1 || r.metric("postrider_claims_refused_total", "unknown") != 1 {
			t.Error("not told")
		}
	})
}

func TestTypeWithoutHandler(t *testing.T) {
	t.Run("of the catalogue", func(t *testing.T) { checkNoHandler(t, strayType.Name) })
	t.Run("of another release", func(t *testing.T) { checkNoHandler(t, "fax:send") })
}

func checkNoHandler(t *testing.T, name string) {
	r := newRig(t, done)
	task := r.acceptNew(job.New{Type: name, Queue: "default", Payload: []byte("{}"), MaxAttempts: 5, OnAmbiguous: tasks.Resend})
	if v := r.Handle(t.Context(), task); !v.Again || v.After < strangerPause-time.Second || v.After > strangerPause {
		t.Errorf("verdict %+v", v)
	}
	e := r.last(task.ID)
	if e.Kind != job.EventSettled || e.State != job.Waiting || e.Code != "" ||
		!strings.Contains(e.Message, `no handler for job type "`+name+`"`) {
		t.Errorf("event %+v", e)
	}
	if r.metric("postrider_runs_total", "temporary", "unknown") != 1 {
		t.Error("not counted under the label of unknown types")
	}
	for runs, charged := range map[int]int{strangerRuns - 1: 0, strangerRuns: 1} {
		task := r.acceptNew(job.New{Type: name, Queue: "default", Payload: []byte("{}"), MaxAttempts: 5, OnAmbiguous: tasks.Resend})
		r.alter(task.ID, func(j *job.Job, _ time.Time) { j.Runs = runs })
		v := r.Handle(t.Context(), task)
		if j := r.find(task.ID); !v.Again || v.After < strangerLongest-time.Second || j.State != job.Waiting || j.Attempts != charged {
			t.Errorf("after %d runs: %+v, the job is %+v", runs, v, j)
		}
	}
}

func TestInvalidPayload(t *testing.T) {
	r := newRig(t, func(context.Context, *Run) job.Outcome {
		t.Error("the handler was called")
		return job.Outcome{}
	})
	task := r.accept(probeType.Type, map[string]any{"n": -1})
	r.Handle(t.Context(), task)
	if j := r.find(task.ID); j.State != job.Failed || !strings.Contains(j.Message, "n must not be negative") {
		t.Errorf("the job is %s and says %q", j.State, j.Message)
	}
}

func TestClaimWithoutDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, done)
		task := r.accept(probeType.Type, probe{})
		for range 2 { // two outages
			r.store.on("Claim", away)
			for range 5 {
				v := r.Handle(t.Context(), task)
				if !v.Again || v.After < awayPause || v.After > 2*awayPause || v.Err != nil {
					t.Fatalf("verdict %+v", v)
				}
			}
			r.store.on("Claim", nil)
			if v := r.Handle(t.Context(), task); !isAck(v) {
				t.Errorf("verdict %+v", v)
			}
		}
		if j := r.find(task.ID); j.State != job.Done || j.Runs != 1 || j.Attempts != 1 || j.Deaths != 0 {
			t.Errorf("the job is %s after %d runs, %d attempts, %d deaths", j.State, j.Runs, j.Attempts, j.Deaths)
		}
		if r.logs.Count("claiming jobs fails") != 2 || r.logs.Count("claiming jobs works again") != 2 {
			t.Errorf("want each outage told once:\n%s", r.logs)
		}
		if n := r.metric("postrider_claims_refused_total", "unavailable"); n != 10 {
			t.Errorf("counted %v", n)
		}
	})
}

// TestClaimOutlivesTheEngine ends the engine's context while the claim and
// then the handler are under way: neither notices.
func TestClaimOutlivesTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := newRig(t, func(ctx context.Context, _ *Run) job.Outcome {
			if ctx.Err() != nil {
				t.Error("the handler's context ended with the engine's")
			}
			return job.Succeeded("")
		})
		r.store.on("Claim", func(claim context.Context) error {
			cancel()
			deadline, ok := claim.Deadline()
			if !ok || time.Until(deadline) != claimLimit || claim.Err() != nil {
				t.Errorf("the claim's context: deadline %v, error %v", deadline, claim.Err())
			}
			return nil
		})
		task := r.accept(probeType.Type, probe{})
		if v := r.Handle(ctx, task); !isAck(v) || r.find(task.ID).State != job.Done {
			t.Errorf("verdict %+v, job %s", v, r.find(task.ID).State)
		}
	})
}

// TestSettleWithoutDatabase has the database come back within the lease.
func TestSettleWithoutDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, done)
		back := time.Now().Add(leaseTime - 2*time.Second)
		r.store.on("Settle", func(context.Context) error {
			if time.Now().Before(back) {
				return errAway
			}
			return nil
		})
		task := r.accept(probeType.Type, probe{})
		if v := r.Handle(t.Context(), task); !isAck(v) {
			t.Errorf("verdict %+v", v)
		}
		if j := r.find(task.ID); j.State != job.Done || j.Deaths != 0 {
			t.Errorf("the job is %s after %d deaths", j.State, j.Deaths)
		}
		if r.logs.Count("recording outcomes fails") != 1 || r.logs.Count("level=ERROR") != 0 {
			t.Errorf("want the outage told once:\n%s", r.logs)
		}
	})
}

// TestSettleNever has it stay away: the run is left to its lease, and the
// next one begins when that has ended.
func TestSettleNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs []int
		r := newRig(t, func(_ context.Context, run *Run) job.Outcome {
			runs = append(runs, run.Job.Runs)
			return job.Succeeded("")
		})
		r.store.on("Settle", away)
		task := r.accept(probeType.Type, probe{})
		began := time.Now()
		v := r.Handle(t.Context(), task)
		if took := time.Since(began); took > leaseTime || took < leaseTime-2*settlePause-time.Second {
			t.Errorf("tried for %v, want nearly the lease", took)
		}
		if !v.Again || r.logs.Count("level=ERROR") != 1 {
			t.Errorf("verdict %+v, log:\n%s", v, r.logs)
		}
		r.store.on("Settle", nil)
		time.Sleep(v.After)
		if v := r.Handle(t.Context(), task); !isAck(v) || len(runs) != 2 {
			t.Errorf("verdict %+v after runs %v", v, runs)
		}
		if j := r.find(task.ID); j.State != job.Done || j.Deaths != 1 || j.Attempts != 1 {
			t.Errorf("the job is %s after %d deaths and %d attempts", j.State, j.Deaths, j.Attempts)
		}
	})
}

type poison struct{}

func (poison) EffectName() string { return "poison" }

// TestRefusedEffect has the database refuse the rows of an outcome for good.
func TestRefusedEffect(t *testing.T) {
	r := newRig(t, func(context.Context, *Run) job.Outcome {
		return job.Outcome{Kind: job.OutcomeDone, Effects: []job.Effect{poison{}}}
	})
	task := r.accept(probeType.Type, probe{})
	if v := r.Handle(t.Context(), task); !isAck(v) {
		t.Errorf("verdict %+v", v)
	}
	if j := r.find(task.ID); j.State != job.Failed || j.Message != "the database refuses its poison" {
		t.Errorf("the job is %s and says %q", j.State, j.Message)
	}
}

// TestLateOutcome takes the run away from a handler that then succeeds.
func TestLateOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(context.Context, *Run) job.Outcome { <-release; return job.Succeeded("after all") })
		task := r.accept(probeType.Type, probe{})
		verdict := r.handle(task)
		synctest.Wait()
		r.alter(task.ID, bury)
		close(release)
		if v := <-verdict; !isAck(v) {
			t.Errorf("verdict %+v", v)
		}
		if e := r.last(task.ID); e.Kind != job.EventLate || r.find(task.ID).State != job.Waiting {
			t.Errorf("job %s, event %+v", r.find(task.ID).State, e)
		}
		if r.logs.Count("an outcome came after its run was given up") != 1 {
			t.Error("not told")
		}
	})
}

// TestTwins brings every task twice to each of two workers at once: each job
// runs once.
func TestTwins(t *testing.T) {
	const jobs = 200
	var calls sync.Map
	var running, most atomic.Int64
	h := func(_ context.Context, run *Run) job.Outcome {
		now := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		n, _ := calls.LoadOrStore(run.Job.ID, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		return job.Succeeded("")
	}
	s := newStore()
	one, other := newRigOver(t, s, h), newRigOver(t, s, h)
	if one.Name() == other.Name() {
		t.Fatalf("both workers are called %s", one.Name())
	}
	var all sync.WaitGroup
	for range jobs {
		task := one.accept(probeType.Type, probe{})
		for _, r := range []*rig{one, other, one, other} {
			all.Go(func() {
				if v := r.Handle(t.Context(), task); v.Err != nil || v.Again && v.Reason != "busy" {
					t.Errorf("verdict %+v", v)
				}
			})
		}
	}
	all.Wait()
	done, err := s.List(t.Context(), job.Filter{Status: "done", Limit: jobs + 1})
	if err != nil || len(done) != jobs {
		t.Errorf("%d of %d jobs are done, %v", len(done), jobs, err)
	}
	calls.Range(func(id, n any) bool {
		if c := n.(*atomic.Int64).Load(); c != 1 {
			t.Errorf("job %s ran %d times", id, c)
		}
		return true
	})
	for _, j := range done {
		if j.Runs != 1 {
			t.Errorf("job %s was claimed %d times", j.ID, j.Runs)
		}
	}
	if n := one.metric("postrider_jobs_running", "default"); n != 0 {
		t.Errorf("%v jobs are counted as running", n)
	}
}

// TestManyAtOnce has 200 handlers at work at the same time.
func TestManyAtOnce(t *testing.T) {
	const jobs = 200
	var inside sync.WaitGroup
	inside.Add(jobs)
	release := make(chan struct{})
	r := newRig(t, func(context.Context, *Run) job.Outcome {
		inside.Done()
		<-release
		return job.Succeeded("")
	})
	var all sync.WaitGroup
	for range jobs {
		task := r.accept(probeType.Type, probe{})
		all.Go(func() {
			if v := r.Handle(t.Context(), task); !isAck(v) {
				t.Errorf("verdict %+v", v)
			}
		})
	}
	inside.Wait()
	if n := r.metric("postrider_jobs_running", "default"); n != jobs {
		t.Errorf("%v jobs are counted as running", n)
	}
	r.leases.extend(t.Context())
	if n := len(r.store.called("Extend")); n != 1 {
		t.Errorf("all leases took %d calls", n)
	}
	close(release)
	all.Wait()
}
