package work

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// stop shuts the worker down and says how long that took.
func (r *rig) stop(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := r.Shutdown(ctx)
	return time.Since(began), err
}

func TestShutdownIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, done)
		task := r.accept(probeType.Type, probe{})
		if took, err := r.stop(t.Context()); err != nil || took != 0 {
			t.Errorf("took %v, %v", took, err)
		}
		v := r.Handle(t.Context(), task)
		if !v.Again || v.After < minPause || r.find(task.ID).Runs != 0 {
			t.Errorf("after its end the worker took a task: %+v", v)
		}
		if _, err := r.stop(t.Context()); err != nil {
			t.Errorf("the second call: %v", err)
		}
	})
}

func TestShutdownLetsJobsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *Run) job.Outcome {
			time.Sleep(testConfig.ShutdownLimit - time.Second)
			if ctx.Err() != nil {
				t.Error("it was interrupted")
			}
			return job.Succeeded("")
		})
		task := r.accept(probeType.Type, probe{})
		verdict := r.handle(task)
		synctest.Wait()
		if took, err := r.stop(t.Context()); err != nil || took != testConfig.ShutdownLimit-time.Second {
			t.Errorf("took %v, %v", took, err)
		}
		if v := <-verdict; !isAck(v) || r.find(task.ID).State != job.Done {
			t.Errorf("verdict %+v, job %s", v, r.find(task.ID).State)
		}
	})
}

// TestShutdownInterrupts gives back what obeys, uncharged, and settles as
// ambiguous what was past its point of no return.
func TestShutdownInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, run *Run) job.Outcome {
			if run.Job.Type == holdType.Name {
				return pastUntilEnd(ctx, run)
			}
			o := untilEnd(ctx, run)
			if !errors.Is(context.Cause(ctx), ErrShutdown) {
				t.Errorf("the cause is %v", context.Cause(ctx))
			}
			time.Sleep(testConfig.StopGrace - time.Second) // it may take its time
			return o
		})
		obeys, past := r.accept(probeType.Type, probe{}), r.accept(holdType.Type, probe{})
		fleeting := job.Task{ID: job.NewID(), Type: ephemeralType.Name, Queue: "default"}
		one, other, third := r.handle(obeys), r.handle(past), r.handle(fleeting)
		synctest.Wait()
		took, err := r.stop(t.Context())
		if err != nil || took != testConfig.ShutdownLimit+testConfig.StopGrace-time.Second {
			t.Errorf("took %v, %v", took, err)
		}
		if v := <-one; !v.Again || v.After != 0 {
			t.Errorf("verdict %+v", v)
		}
		if j := r.find(obeys.ID); j.State != job.Waiting || j.Attempts != 0 || j.Deaths != 0 {
			t.Errorf("the job is %s after %d attempts and %d deaths", j.State, j.Attempts, j.Deaths)
		}
		if v := <-other; !isAck(v) {
			t.Errorf("verdict %+v", v)
		}
		if j := r.find(past.ID); j.State != job.Held || j.Code != job.CodeAmbiguous {
			t.Errorf("the job past its point of no return is %s", j.State)
		}
		if v := <-third; !v.Again || v.Err != nil {
			t.Errorf("ephemeral: verdict %+v", v)
		}
	})
}

// TestShutdownOfAStuckHandler is bounded, loud, and extends no lease after.
func TestShutdownOfAStuckHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(context.Context, *Run) job.Outcome {
			<-release
			return job.Succeeded("")
		})
		task := r.accept(probeType.Type, probe{})
		verdict := r.handle(task)
		synctest.Wait()
		took, err := r.stop(t.Context())
		if want := testConfig.ShutdownLimit + testConfig.StopGrace + SettleBudget; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		if err == nil || !strings.Contains(err.Error(), "1 tasks did not end") {
			t.Errorf("error %v", err)
		}
		if r.logs.Count("left to its lease") == 0 || r.logs.Count("job="+string(task.ID)) == 0 {
			t.Errorf("log:\n%s", r.logs)
		}
		extended := len(r.store.called("Extend"))
		time.Sleep(leaseTime)
		if len(r.store.called("Extend")) != extended {
			t.Error("leases are kept after the end")
		}
		if j := r.find(task.ID); j.State != job.Running || j.LeaseUntil.After(time.Now()) {
			t.Errorf("the job is %s with a lease for %v more", j.State, time.Until(j.LeaseUntil))
		}
		// The store may be closed by now: it is not asked again.
		close(release)
		if v := <-verdict; !v.Again || r.find(task.ID).State != job.Running {
			t.Errorf("verdict %+v, job %s", v, r.find(task.ID).State)
		}
	})
}

// TestShutdownInAHurry: a context that ends ends the waiting, not the order.
func TestShutdownInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, untilEnd)
		task := r.accept(probeType.Type, probe{})
		verdict := r.handle(task)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if took, err := r.stop(ctx); err != nil || took != time.Second {
			t.Errorf("took %v, %v", took, err)
		}
		if v := <-verdict; !v.Again || r.find(task.ID).State != job.Waiting {
			t.Errorf("verdict %+v, job %s", v, r.find(task.ID).State)
		}
	})
}

// TestShutdownWithoutDatabase does not wait for it longer than planned.
func TestShutdownWithoutDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, untilEnd)
		r.store.on("Settle", func(ctx context.Context) error {
			<-ctx.Done()
			return job.Wrap(job.CodeTemporary, ctx.Err(), "hung")
		})
		verdict := r.handle(r.accept(probeType.Type, probe{}))
		synctest.Wait()
		took, err := r.stop(t.Context())
		if took != testConfig.ShutdownLimit+testConfig.StopGrace+SettleBudget {
			t.Errorf("took %v", took)
		}
		if v := <-verdict; !v.Again || r.logs.Count("an outcome could not be recorded") != 1 {
			t.Errorf("%v, verdict %+v, log:\n%s", err, v, r.logs)
		}
	})
}

// TestShutdownRacesHandle starts and ends workers while tasks come in.
func TestShutdownRacesHandle(t *testing.T) {
	for range 50 {
		r := newRig(t, done)
		var all sync.WaitGroup
		for range 10 {
			task := r.accept(probeType.Type, probe{})
			all.Go(func() {
				if v := r.Handle(t.Context(), task); !isAck(v) && v.Reason != "stopping" {
					t.Errorf("verdict %+v", v)
				}
			})
		}
		for range 2 {
			all.Go(func() {
				if err := r.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
