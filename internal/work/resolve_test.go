package work

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// holdProbe makes a job that is held as its third run died, and returns that
// run: its worker may live and settle it late.
func holdProbe(t *testing.T, s job.Store, jobs *job.Service) job.Job {
	t.Helper()
	task := acceptProbe(t, jobs)
	c, err := s.Claim(t.Context(), job.Claim{ID: task.ID, Token: string(job.NewID()), Worker: "w", Lease: time.Minute})
	if err != nil || c.Verdict != job.Granted {
		t.Fatalf("claiming: %s, %v", c.Verdict, err)
	}
	changed, err := s.Change(t.Context(), []job.ID{task.ID}, func(j *job.Job, now time.Time) ([]job.Event, error) {
		j.Deaths = 2
		return job.Bury(j, now), nil
	})
	if err != nil || len(changed) != 1 || changed[0].State != job.Held {
		t.Fatalf("holding: %+v, %v", changed, err)
	}
	return c.Job
}

// TestResolveRaces resolves a held job at the moment at which something else
// happens to it. What is shown is what happened: each command that succeeded has
// its event, no other has one, the last of them tells the state, and a worker's
// late word changes nothing.
func TestResolveRaces(t *testing.T) {
	onDatabases(t, func(t *testing.T, s job.Store) {
		jobs := newCommands(t, s)
		resolve := func(r job.Resolution) func(job.Job) error {
			return func(j job.Job) error {
				_, err := jobs.Resolve(context.WithoutCancel(t.Context()), j.ID, "ann", r)
				return err
			}
		}
		commands := map[string]func(job.Job) error{
			"resolve as done": resolve(job.ResolveDone), "resolve as failed": resolve(job.ResolveFailed), "resolve as retry": resolve(job.ResolveRetry),
			"retry": func(j job.Job) error {
				_, err := jobs.Retry(context.WithoutCancel(t.Context()), j.ID, "ann")
				return err
			},
			"cancel": func(j job.Job) error {
				_, err := jobs.Cancel(context.WithoutCancel(t.Context()), j.ID, "ann")
				return err
			},
			"a late settle": func(j job.Job) error {
				is, err := s.Settle(context.WithoutCancel(t.Context()), job.Plan(&j, tasks.DefaultBackoff, job.Succeeded("did it after all")))
				if err == nil && !is.Late {
					t.Errorf("the settle of a run that was buried is %+v", is)
				}
				return err
			},
		}
		for _, first := range []string{"resolve as done", "resolve as failed", "resolve as retry"} {
			for second, do := range commands {
				t.Run(first+" against "+second, func(t *testing.T) {
					for range 4 {
						j := holdProbe(t, s, jobs)
						var both sync.WaitGroup
						var errs [2]error
						start := make(chan struct{})
						for i, f := range []func(job.Job) error{commands[first], do} {
							both.Go(func() { <-start; errs[i] = f(j) })
						}
						close(start)
						both.Wait()
						checkResolved(t, jobs, j.ID, second, errs)
					}
				})
			}
		}
	})
}

// checkResolved compares what the commands answered with the job's history.
func checkResolved(t *testing.T, jobs *job.Service, id job.ID, second string, errs [2]error) {
	t.Helper()
	succeeded := 0
	for i, err := range errs {
		switch {
		case err == nil && (i == 0 || second != "a late settle"):
			succeeded++
		case err != nil && job.CodeOf(err) != job.CodeConflict:
			t.Errorf("a command that lost the race answers %v", err)
		}
	}
	j, err := jobs.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	events, err := jobs.Events(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	told, shown := 0, job.Held
	for _, e := range events {
		if slices.Contains([]job.EventKind{job.EventResolved, job.EventRetried, job.EventCancelled}, e.Kind) {
			told, shown = told+1, e.State
		}
	}
	if succeeded == 0 || told != succeeded || j.State != shown {
		t.Errorf("%d commands succeeded (%v), the history tells of %d and %s, the job is %s: %+v", succeeded, errs, told, shown, j.State, events)
	}
	if late := slices.ContainsFunc(events, func(e job.Event) bool { return e.Kind == job.EventLate }); late != (second == "a late settle") {
		t.Errorf("a late event: %t", late)
	}
}
