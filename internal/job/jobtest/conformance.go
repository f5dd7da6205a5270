package jobtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

const (
	lease = 30 * time.Second
	// slack is how far a store's clock may go on by itself during one test.
	slack = 5 * time.Second
	// patience bounds one test, and so every call in it.
	patience = time.Minute
)

// Open makes an empty store and its clock for one test, and cleans up after
// it.
type Open func(t *testing.T) (job.Store, Clock)

type scenario struct {
	name string
	run  func(*suite)
}

// Conformance proves that the stores that open makes do what job.Store and
// its parts document. It reads notifications through the store where that is
// an inbox.Reader too.
func Conformance(t *testing.T, open Open) {
	groups := []struct {
		name      string
		scenarios []scenario
	}{
		{"Accept", acceptScenarios},
		{"Claim", claimScenarios},
		{"Lease", leaseScenarios},
		{"Settle", settleScenarios},
		{"Effects", effectScenarios},
		{"Change", changeScenarios},
		{"Read", readScenarios},
		{"Log", logScenarios},
		{"Mend", mendScenarios},
		{"Purge", purgeScenarios},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, sc := range g.scenarios {
				t.Run(sc.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					store, clock := open(t)
					sc.run(&suite{T: t, ctx: ctx, store: store, clock: clock})
				})
			}
		})
	}
}

// suite is one test's store with the steps that tests are made of; a step
// that fails ends the test.
type suite struct {
	*testing.T
	ctx   context.Context
	store job.Store
	clock Clock

	tokens int
}

func (s *suite) ok(err error, doing string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", doing, err)
	}
}

func (s *suite) wantCode(err error, want job.Code) {
	s.Helper()
	if got := job.CodeOf(err); got != want {
		s.Fatalf("error %v has code %q, want %q", err, got, want)
	}
}

func (s *suite) near(what string, got, want time.Time) {
	s.Helper()
	if d := got.Sub(want).Abs(); d > slack {
		s.Errorf("%s is %v, want about %v", what, got, want)
	}
}

func equal[T comparable](s *suite, what string, got, want T) {
	s.Helper()
	if got != want {
		s.Errorf("%s is %v, want %v", what, got, want)
	}
}

// newJob is a job to be, with an id of its own.
func newJob(with ...func(*job.New)) job.New {
	n := job.New{
		ID: job.NewID(), Type: "test:job", Queue: "default", AcceptedBy: "tester",
		Payload: []byte(`{"n":1}`), MaxAttempts: 3, OnAmbiguous: tasks.Resend,
	}
	for _, f := range with {
		f(&n)
	}
	return n
}

// accept takes one job and returns its id.
func (s *suite) accept(with ...func(*job.New)) job.ID {
	s.Helper()
	n := newJob(with...)
	_, err := s.store.Accept(s.ctx, job.Request{Base: n.ID, Jobs: []job.New{n}})
	s.ok(err, "accepting")
	return n.ID
}

// batch is a request of n jobs.
func batch(n int, with ...func(*job.New)) job.Request {
	r := job.Request{Base: job.NewID(), Jobs: make([]job.New, n)}
	for i := range r.Jobs {
		r.Jobs[i] = newJob(with...)
		r.Jobs[i].ID, r.Jobs[i].Batch = r.Base.Plus(i+1), r.Base
	}
	return r
}

func (s *suite) acceptBatch(n int, with ...func(*job.New)) []job.ID {
	s.Helper()
	r := batch(n, with...)
	_, err := s.store.Accept(s.ctx, r)
	s.ok(err, "accepting a batch")
	ids := make([]job.ID, n)
	for i, j := range r.Jobs {
		ids[i] = j.ID
	}
	return ids
}

// newClaim is a claim with a token of its own.
func (s *suite) newClaim(id job.ID) job.Claim {
	s.tokens++
	return job.Claim{ID: id, Token: fmt.Sprintf("token-%d", s.tokens), Worker: "worker-1", Lease: lease}
}

func (s *suite) tryClaim(id job.ID) job.Claimed {
	s.Helper()
	c, err := s.store.Claim(s.ctx, s.newClaim(id))
	s.ok(err, "claiming")
	return c
}

// claim begins a run of a job that can be claimed.
func (s *suite) claim(id job.ID) job.Job {
	s.Helper()
	c := s.tryClaim(id)
	if c.Verdict != job.Granted {
		s.Fatalf("claiming was answered %s (state %s), want granted", c.Verdict, c.State)
	}
	return c.Job
}

func plan(j job.Job, o job.Outcome) job.Settlement { return job.Plan(&j, tasks.DefaultBackoff, o) }

// settle ends a run of the job with an outcome that still counts.
func (s *suite) settle(j job.Job, o job.Outcome) job.Settled {
	s.Helper()
	done, err := s.store.Settle(s.ctx, plan(j, o))
	s.ok(err, "settling")
	if done.Late {
		s.Fatalf("settling run %d was late", j.Runs)
	}
	return done
}

// finish accepts a job and ends its first run with an outcome.
func (s *suite) finish(o job.Outcome, with ...func(*job.New)) job.ID {
	s.Helper()
	id := s.accept(with...)
	s.settle(s.claim(id), o)
	return id
}

// die lets the lease of every run end.
func (s *suite) die() { s.clock.Advance(lease + slack) }

func (s *suite) find(id job.ID) job.Job {
	s.Helper()
	j, err := s.store.Find(s.ctx, id)
	s.ok(err, "finding")
	return j
}

func (s *suite) events(id job.ID) []job.Event {
	s.Helper()
	e, err := s.store.Events(s.ctx, id)
	s.ok(err, "reading events")
	return e
}

func (s *suite) wantState(id job.ID, want job.State) job.Job {
	s.Helper()
	j := s.find(id)
	if j.State != want {
		s.Fatalf("the job is %s, want %s", j.State, want)
	}
	return j
}

// wantEvents checks the kinds of a job's events and that they are told in
// their order.
func (s *suite) wantEvents(id job.ID, want ...job.EventKind) []job.Event {
	s.Helper()
	events := s.events(id)
	var kinds []job.EventKind
	for i, e := range events {
		kinds = append(kinds, e.Kind)
		equal(s, "the event's job", e.Job, id)
		if i > 0 && e.Seq <= events[i-1].Seq {
			s.Errorf("event %d has sequence %d after %d", i, e.Seq, events[i-1].Seq)
		}
	}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		s.Fatalf("the events are %v, want %v", kinds, want)
	}
	return events
}

// alter changes a job and gives that a line in its history.
func (s *suite) alter(id job.ID, f func(*job.Job)) {
	s.Helper()
	changed, err := s.store.Change(s.ctx, []job.ID{id}, func(j *job.Job, now time.Time) ([]job.Event, error) {
		f(j)
		return []job.Event{{Job: id, At: now, Kind: job.EventRunNow, State: j.State}}, nil
	})
	s.ok(err, "changing")
	equal(s, "the number of changed jobs", len(changed), 1)
}

func (s *suite) requestCancel(id job.ID) {
	s.Helper()
	s.alter(id, func(j *job.Job) { j.CancelRequested = true })
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

// stream reads a stream's notifications, or skips the test for a store that
// has none.
func (s *suite) stream(name string) []inbox.Notification {
	s.Helper()
	r, ok := s.store.(inbox.Reader)
	if !ok {
		s.Skip("the store is no inbox.Reader")
	}
	all, err := r.After(s.ctx, name, 0, 1000)
	s.ok(err, "reading a stream")
	return all
}

func notification(id job.ID, stream string) inbox.Notification {
	return inbox.Notification{
		ID: id, Stream: stream, Type: "info", Message: "Grüße, 世界 🌍", Data: json.RawMessage(`{"a":[1,"ü"]}`),
	}
}

func done(effects ...job.Effect) job.Outcome {
	return job.Outcome{Kind: job.OutcomeDone, Message: "250 queued", ReplyCode: 250, Effects: effects}
}

func temporary(after time.Duration) job.Outcome {
	return job.Outcome{Kind: job.OutcomeTemporary, Message: "421 come back", ReplyCode: 421, After: after}
}

var errRefused = errors.New("refused by the test")
