package work

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// TestLeaseIsKept runs a job for longer than three leases.
func TestLeaseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *Run) job.Outcome {
			time.Sleep(100 * time.Second)
			return job.Succeeded("")
		})
		task, second := r.accept(probeType.Type, probe{}), r.accept(probeType.Type, probe{})
		verdict, other := r.handle(task), r.handle(second)
		synctest.Wait()
		for range 99 {
			time.Sleep(time.Second)
			if j := r.find(task.ID); time.Until(j.LeaseUntil) < leaseTime-extendEvery-time.Second {
				t.Fatalf("the lease has %v left", time.Until(j.LeaseUntil))
			}
		}
		if v := <-verdict; !isAck(v) || !isAck(<-other) {
			t.Errorf("verdict %+v", v)
		}
		// The runs share their calls.
		if n := len(r.store.called("Extend")); n != 20 && n != 19 {
			t.Errorf("extended %d times in 100 s, want every %v", n, extendEvery)
		}
		time.Sleep(time.Minute)
		if n := len(r.store.called("Extend")); n > 20 {
			t.Error("extending goes on without runs")
		}
	})
}

// TestLeaseIsGivenUp counts the time from before the last good call.
func TestLeaseIsGivenUp(t *testing.T) {
	for _, test := range []struct {
		name string
		good int // extensions that succeed before the database hangs
	}{{"claim", 0}, {"extension", 3}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended time.Time
				r := newRig(t, func(ctx context.Context, run *Run) job.Outcome {
					o := untilEnd(ctx, run)
					ended = time.Now()
					if !errors.Is(context.Cause(ctx), ErrLeaseLost) {
						t.Errorf("the cause is %v", context.Cause(ctx))
					}
					return o
				})
				var good time.Time
				// The claim is slow: its time counts.
				r.store.on("Claim", func(context.Context) error { good = time.Now(); time.Sleep(3 * time.Second); return nil })
				extensions := 0
				r.store.on("Extend", func(ctx context.Context) error {
					if extensions++; extensions <= test.good {
						good = time.Now()
						time.Sleep(2 * time.Second)
						return nil
					}
					<-ctx.Done()
					return job.Wrap(job.CodeTemporary, ctx.Err(), "hung")
				})
				task := r.accept(probeType.Type, probe{})
				if v := <-r.handle(task); v.Reason != "left" {
					t.Errorf("verdict %+v", v)
				}
				if held := ended.Sub(good); held != giveUpAfter {
					t.Errorf("given up %v after the last good call began, want %v", held, giveUpAfter)
				}
				if r.logs.Count("extending leases fails") != 1 {
					t.Errorf("want the outage told once:\n%s", r.logs)
				}
			})
		})
	}
}

// TestLeaseSurvivesAShortOutage has the database away for less than the limit.
func TestLeaseSurvivesAShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *Run) job.Outcome {
			time.Sleep(90 * time.Second)
			return job.Succeeded("")
		})
		began := time.Now()
		r.store.on("Extend", func(context.Context) error {
			if s := time.Since(began); s > 20*time.Second && s < 38*time.Second {
				return errAway
			}
			return nil
		})
		task := r.accept(probeType.Type, probe{})
		if v := <-r.handle(task); !isAck(v) || r.find(task.ID).Deaths != 0 {
			t.Errorf("verdict %+v after %d deaths", v, r.find(task.ID).Deaths)
		}
		if r.logs.Count("extending leases works again") != 1 {
			t.Errorf("log:\n%s", r.logs)
		}
	})
}

// TestCancelHint learns of a cancellation at once, not at the next extension,
// and asks no more often than it must.
func TestCancelHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, untilEnd)
		task := r.accept(probeType.Type, probe{})
		verdict := r.handle(task)
		synctest.Wait()

		r.CancelHint(job.NewID()) // another worker's
		synctest.Wait()
		if n := len(r.store.called("Extend")); n != 0 {
			t.Fatalf("a stranger's hint made %d calls", n)
		}

		release := make(chan struct{})
		r.store.on("Extend", func(context.Context) error { <-release; return nil })
		began := time.Now()
		r.alter(task.ID, requestCancel)
		for range 100 {
			r.CancelHint(task.ID)
		}
		synctest.Wait()
		for range 100 {
			r.CancelHint(task.ID)
		}
		close(release)
		if v := <-verdict; !isAck(v) || r.find(task.ID).State != job.Cancelled {
			t.Errorf("verdict %+v, job %s", v, r.find(task.ID).State)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %v", d)
		}
		synctest.Wait()
		if n := len(r.store.called("Extend")); n > 2 {
			t.Errorf("200 hints made %d calls", n)
		}
	})
}

// TestStuckHandlerIsAbandoned: a handler that ignores its end must not keep
// its job from everybody for ever.
func TestStuckHandlerIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(ctx context.Context, run *Run) job.Outcome {
			if run.Job.Runs > 1 {
				return job.Succeeded("the second time")
			}
			<-release
			return job.Succeeded("too late")
		})
		task := r.accept(probeType.Type, probe{})
		stuck := r.handle(task)
		synctest.Wait()
		time.Sleep(probeType.Deadline + testConfig.StopGrace + 2*extendEvery + leaseTime)
		v := r.Handle(t.Context(), task)
		for v.Again {
			time.Sleep(v.After)
			v = r.Handle(t.Context(), task)
		}
		if r.logs.Count("a handler does not return") != 1 {
			t.Errorf("want it told once:\n%s", r.logs)
		}
		close(release)
		<-stuck
		if j, e := r.find(task.ID), r.last(task.ID); j.State != job.Done || j.Message != "the second time" || e.Kind != job.EventLate {
			t.Errorf("the job is %s and says %q, the last event is %+v", j.State, j.Message, e)
		}
	})
}
