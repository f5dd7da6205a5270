package jobtest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// Times of the property test lie so that no two of them meet by adding up:
// a store whose clock goes on by itself then decides as its model does.
const (
	propLease  = 25 * time.Second
	propLater  = 17 * time.Second
	propExpiry = 34 * time.Second
	maxJobs    = 5  // few, so that much happens to each
	steps      = 60 // of a history, on average
)

var (
	propAdvances = []time.Duration{10 * time.Second, 20 * time.Second, time.Minute}
	propWorkers  = []string{"worker-1", "worker-2", "worker-3"}
	propQueues   = []string{"default", "other"}
	propTypes    = []string{"prop:once", "prop:resend", "prop:hold"}
)

// Property drives several jobs and workers of a store through random
// histories, of everything that a job's life can bring in any order, and
// checks the domain's promises after each step and that every job comes to
// its end at last. All answers are compared with those of a Memory. checks is
// the number of histories; -rapid.checks and -rapid.steps overrule what is set
// here.
func Property(t *testing.T, open Open, checks int) {
	testkit.Rapid(t, checks, steps)
	store, clock := open(t)
	model := NewMemory()
	types, err := tasks.NewCatalogue(
		tasks.Define[tasks.Nothing](tasks.Type{Name: "prop:once", MaxAttempts: 1}).Type,
		tasks.Define[tasks.Nothing](tasks.Type{Name: "prop:resend", MaxAttempts: 3}).Type,
		tasks.Define[tasks.Nothing](tasks.Type{Name: "prop:hold", MaxAttempts: 3, OnAmbiguous: tasks.Hold}).Type,
	)
	if err != nil {
		t.Fatal(err)
	}
	var left []job.ID // of the history before
	rapid.Check(t, func(rt *rapid.T) {
		retire(rt, store, left)
		retire(rt, model, left)
		w := newWorld(rt, t.Context(), &twin{store: store, clock: clock, model: model, fail: rt.Fatalf}, types)
		defer func() { left = w.ids }()
		rt.Repeat(map[string]func(*rapid.T){
			"":                  w.check,
			"accept":            w.accept,
			"accept replayed":   w.acceptReplayed,
			"accept directly":   w.acceptDirectly,
			"accept repeated":   w.acceptRepeated,
			"dispatch":          w.dispatch,
			"claim":             w.claim,
			"claim as twins":    w.claimAsTwins,
			"claim repeated":    w.claimRepeated,
			"work":              w.work,
			"no return":         w.noReturn,
			"settle":            w.settle,
			"settle repeated":   w.settleRepeated,
			"extend":            w.extend,
			"run dies":          w.die,
			"crash":             w.crash,
			"cancel":            w.cancel,
			"retry":             w.retry,
			"run now":           w.runNow,
			"resolve":           w.resolve,
			"advance":           w.advance,
			"reconcile":         w.reconcile,
			"redis flushed":     w.flush,
			"redis comes, goes": w.toggle,
		})
		w.drain(rt)
	})
}

// retire ends what a history that failed left unfinished and deletes it, so
// that the next begins as it did and its failure can be made again.
func retire(t *rapid.T, s job.Store, ids []job.ID) {
	_, err := s.Change(context.Background(), ids, func(j *job.Job, now time.Time) ([]job.Event, error) {
		if j.State.Final() {
			return nil, nil
		}
		j.State, j.FinishedAt = job.Cancelled, now
		j.Worker, j.LeaseUntil = "", time.Time{}
		return []job.Event{{Job: j.ID, At: now, Kind: job.EventCancelled, State: job.Cancelled}}, nil
	})
	if err != nil {
		t.Fatalf("retiring the history before: %v", err)
	}
	if _, err := s.Purge(context.Background(), job.Retention{}, maxEvents); err != nil {
		t.Fatalf("purging the history before: %v", err)
	}
}

// world is one history: the domain over the store, a Redis, and what the test
// knows of each job and run.
type world struct {
	ctx     context.Context
	store   *twin
	service *job.Service
	mender  *job.Reconciler
	redis   *Dispatcher
	down    bool

	ids      []job.ID
	known    map[job.ID]*knowledge
	runs     []*run
	posts    []post
	requests []job.Request
	streams  []string
	tokens   int
	name     string // makes tokens and streams of this history its own
}

// knowledge is what the test knows of a job.
type knowledge struct {
	last     job.Job // as it was after the last step; zero before the first
	alive    bool    // a person gave it a new life, or ended its being held, in this step
	notified int
}

// run is one that a worker was granted.
type run struct {
	claim      job.Claim
	job        job.Job
	leaseUntil time.Time // as its worker knows it
	settlement *job.Settlement
	over       bool // its worker forgot it, or was told that it is not the job's
}

// post is a request with an idempotency key.
type post struct {
	who  job.Caller
	subs []job.Submission
	got  job.Accepted
}

func newWorld(rt *rapid.T, ctx context.Context, store *twin, types *tasks.Catalogue) *world {
	w := &world{ctx: ctx, store: store, redis: NewDispatcher(), known: map[job.ID]*knowledge{}, name: string(job.NewID())}
	// The service's own sending is never started: the step "dispatch" does
	// it, or does not.
	w.service = job.NewService(job.Options{
		Store: store, Dispatcher: w.redis, Types: types, Queues: propQueues,
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	w.mender = job.NewReconciler(w.service, "property", job.Retention{
		Done: 10_000 * time.Hour, Bodies: 10_000 * time.Hour, Failed: 10_000 * time.Hour,
	})
	for i := range 2 {
		w.streams = append(w.streams, fmt.Sprintf("user:%s-%d", w.name, i))
	}
	return w
}

func (w *world) now() time.Time { return w.store.clock.Now() }

func (w *world) find(t *rapid.T, id job.ID) job.Job {
	j, err := w.store.Find(w.ctx, id)
	if err != nil {
		t.Fatalf("job %s was lost: %v", id, err)
	}
	return j
}

// settlement draws how a run ends.
func (w *world) settlement(t *rapid.T, r *run) job.Settlement {
	kind := rapid.SampledFrom([]job.OutcomeKind{
		job.OutcomeDone, job.OutcomeTemporary, job.OutcomePermanent, job.OutcomeRateLimited,
		job.OutcomeSuppressed, job.OutcomeCancelled, job.OutcomeAmbiguous, job.OutcomeGivenBack,
	}).Draw(t, "outcome")
	return w.planned(r, kind, rapid.SampledFrom(w.streams).Draw(t, "stream"))
}

func (w *world) planned(r *run, kind job.OutcomeKind, stream string) job.Settlement {
	o := job.Outcome{Kind: kind, Message: "it was " + string(kind), ReplyCode: 200}
	switch kind {
	case job.OutcomeDone:
		o.Effects = []job.Effect{notification(r.job.ID, stream)}
	case job.OutcomeTemporary, job.OutcomeRateLimited, job.OutcomeAmbiguous:
		o.After = propLater // backoff's jitter would part the store from its model
	}
	return plan(r.job, o)
}

// notifications counts those of each job, and checks the sequences.
func (w *world) notifications(t *rapid.T) map[job.ID]int {
	r, ok := w.store.store.(inbox.Reader)
	if !ok {
		return nil
	}
	count := map[job.ID]int{}
	for _, stream := range w.streams {
		all, err := r.After(w.ctx, stream, 0, 1000)
		if err != nil {
			t.Fatalf("reading stream %s: %v", stream, err)
		}
		for i, n := range all {
			if n.Seq != int64(i+1) {
				t.Fatalf("notification %d of stream %s has sequence %d", i, stream, n.Seq)
			}
			count[n.ID]++
		}
	}
	return count
}
