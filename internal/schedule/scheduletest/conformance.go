// Package scheduletest is the conformance suite of schedule.Store: every
// implementation passes it.
package scheduletest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/tasks"
)

// patience bounds one test, and so every call in it.
const patience = time.Minute

// Open makes an empty store with the jobs that it accepts and its clock, for
// one test, and cleans up after it.
type Open func(t *testing.T) (schedule.Store, job.Store, jobtest.Clock)

// Conformance proves that the stores that open makes do what schedule.Store
// documents.
func Conformance(t *testing.T, open Open) {
	for _, sc := range []struct {
		name string
		run  func(*suite)
	}{
		{"KeepsAllFields", keepsAllFields},
		{"ChangesAndDeletes", changesAndDeletes},
		{"UndoesAfterAnError", undoesAfterAnError},
		{"CreatesOnce", createsOnce},
		{"ListsByName", listsByName},
		{"ListsWhatIsDue", listsWhatIsDue},
		{"Fires", fires},
		{"FiresOnce", firesOnce},
		{"FiresNothingThatIsNotDue", firesNothingThatIsNotDue},
		{"LeavesClaimedSlotsOut", leavesClaimedSlotsOut},
		{"TellsOfUnfinishedJobs", tellsOfUnfinishedJobs},
		{"NotesRunsByHand", notesRunsByHand},
		{"PagesThroughRuns", pagesThroughRuns},
		{"TellsTheLatestRuns", tellsTheLatestRuns},
		{"PurgesRuns", purgesRuns},
		{"FiresOrDeletes", firesOrDeletes},
	} {
		t.Run(sc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			store, jobs, clock := open(t)
			sc.run(&suite{T: t, ctx: ctx, store: store, jobs: jobs, clock: clock})
		})
	}
}

// suite is one test's store with the steps that tests are made of.
type suite struct {
	*testing.T
	ctx   context.Context
	store schedule.Store
	jobs  job.Store
	clock jobtest.Clock
}

func (s *suite) ok(err error, doing string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", doing, err)
	}
}

// entry is a schedule that is due now.
func (s *suite) entry(name string, with ...func(*schedule.Entry)) schedule.Entry {
	now := s.clock.Now()
	e := schedule.Entry{
		Definition: schedule.Definition{
			Name: name, Type: "test:job", Payload: []byte(`{"n":1}`), Cron: "* * * * *", TimeZone: "UTC",
			Missed: schedule.MissedOnce, MissedLimit: 10, Overlap: schedule.OverlapAllow,
		},
		Source: schedule.FromAPI, CreatedAt: now, UpdatedAt: now, NextAt: now,
	}
	for _, f := range with {
		f(&e)
	}
	return e
}

func at(t time.Time) func(*schedule.Entry) {
	return func(e *schedule.Entry) { e.NextAt = t }
}

// put writes an entry.
func (s *suite) put(e schedule.Entry) {
	s.Helper()
	_, err := s.store.Change(s.ctx, e.Name, func(*schedule.Entry, time.Time) (*schedule.Entry, error) { return &e, nil })
	s.ok(err, "writing an entry")
}

func (s *suite) get(name string) schedule.Entry {
	s.Helper()
	e, err := s.store.Get(s.ctx, name)
	s.ok(err, "getting an entry")
	return e
}

func (s *suite) wantGone(name string) {
	s.Helper()
	if _, err := s.store.Get(s.ctx, name); job.CodeOf(err) != job.CodeNotFound {
		s.Errorf("getting %s: %v, want it not found", name, err)
	}
}

func (s *suite) runs(name string) []schedule.Run {
	s.Helper()
	r, err := s.store.Runs(s.ctx, name, 0, 100)
	s.ok(err, "listing runs")
	return r
}

// plan makes a job of the entry's next slot; the one after comes in a minute.
func plan(e *schedule.Entry, now time.Time, _ bool) schedule.Firing {
	n := newJob()
	return schedule.Firing{
		Runs: []schedule.Run{{Name: e.Name, Slot: e.NextAt, At: now, Outcome: schedule.RunFired, JobID: n.ID}},
		Jobs: []job.New{n}, Last: e.NextAt, Next: e.NextAt.Add(time.Minute),
	}
}

func newJob() job.New {
	return job.New{
		ID: job.NewID(), Type: "test:job", Queue: "default", AcceptedBy: "schedule:x", Payload: []byte(`{"n":1}`),
		MaxAttempts: 3, OnAmbiguous: tasks.Resend,
	}
}

func (s *suite) fire(name string) schedule.Firing {
	s.Helper()
	f, err := s.store.Fire(s.ctx, name, plan)
	s.ok(err, "firing")
	return f
}

// allJobs are the jobs there are.
func (s *suite) allJobs() []job.Job {
	s.Helper()
	jobs, err := s.jobs.List(s.ctx, job.Filter{Limit: 1000})
	s.ok(err, "listing jobs")
	return jobs
}

func (s *suite) same(what string, got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Errorf("%s is\n%+v, want\n%+v", what, got, want)
	}
}

// together runs f n times at once and waits for all.
func together(n int, f func(i int)) {
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wait.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wait.Wait()
}

var errRefused = errors.New("refused by the test")

func numbered(i int) string { return fmt.Sprintf("entry-%02d", i) }
