package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

var errCut = fmt.Errorf("the connection was cut: %w", io.ErrUnexpectedEOF)

// request is one job to accept.
func request() job.Request {
	id := job.NewID()
	return job.Request{Base: id, Jobs: []job.New{{
		ID: id, Type: "noop", Queue: "default", Payload: []byte("{}"), MaxAttempts: 3, OnAmbiguous: tasks.Resend,
	}}}
}

func claimOf(id job.ID) job.Claim {
	return job.Claim{ID: id, Token: string(job.NewID()), Worker: "w", Lease: 30 * time.Second}
}

// running accepts and claims n jobs.
func running(t *testing.T, s job.Store, n int) []job.Job {
	t.Helper()
	out := make([]job.Job, n)
	for i := range out {
		r := request()
		if _, err := s.Accept(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		c, err := s.Claim(t.Context(), claimOf(r.Base))
		if err != nil || c.Verdict != job.Granted {
			t.Fatalf("claiming: %v, %v", c.Verdict, err)
		}
		out[i] = c.Job
	}
	return out
}

func done(j job.Job, effects ...job.Effect) job.Settlement {
	return job.Plan(&j, tasks.DefaultBackoff, job.Outcome{Kind: job.OutcomeDone, Effects: effects})
}

// each runs f(0..n-1) side by side and waits.
func each(n int, f func(i int)) {
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { f(i) })
	}
	wait.Wait()
}

// A commit whose answer is lost is repeated: nobody is told of a failure, and
// nothing is there twice.
func TestUnknownCommitIsRepeated(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		var failing atomic.Bool
		var lost atomic.Int64
		s := open(t, url, store.Options{Fault: func(op, point string) error {
			if point == "committed" && failing.Load() && lost.Add(1)%2 == 1 {
				return errCut
			}
			return nil
		}})
		failing.Store(true)
		const n = 40
		each(n, func(i int) {
			r := request()
			r.Key = job.IdempotencyKey{Owner: "k", Key: fmt.Sprint(i), Hash: []byte("h"), Keep: time.Hour}
			got, err := s.Accept(t.Context(), r)
			if err != nil || got.Base != r.Base || got.Replayed {
				t.Errorf("accept: %+v, %v; want its own receipt", got, err)
				return
			}
			c, err := s.Claim(t.Context(), claimOf(r.Base))
			if err != nil || c.Verdict != job.Granted || c.Job.Runs != 1 {
				t.Errorf("claim: %+v, %v", c, err)
				return
			}
			run := job.RunRef{ID: r.Base, Run: 1}
			if err := s.PassNoReturn(t.Context(), run); err != nil {
				t.Errorf("point of no return: %v", err)
			}
			if held, err := s.Extend(t.Context(), time.Minute, []job.RunRef{run}); err != nil || len(held) != 1 {
				t.Errorf("extend: %v, %v", held, err)
			}
			note := inbox.Notification{ID: r.Base, Stream: "everyone", Type: "info", Message: "m"}
			if x, err := s.Settle(t.Context(), done(c.Job, note)); err != nil || x.Late || x.State != job.Done {
				t.Errorf("settle: %+v, %v", x, err)
			}
			events, err := s.Events(t.Context(), r.Base)
			if err != nil || len(events) != 3 {
				t.Errorf("events: %+v, %v; want accepted, started, settled", events, err)
			}
		})
		if lost.Load() < 10 {
			t.Fatalf("only %d transactions", lost.Load())
		}
		wantDense(t, s, "everyone", n)
	})
}

func wantDense(t *testing.T, s *store.Store, stream string, n int) {
	t.Helper()
	notes, err := s.After(t.Context(), stream, 0, 1000)
	if err != nil || len(notes) != n {
		t.Fatalf("%d notifications, %v; want %d", len(notes), err, n)
	}
	for i, note := range notes {
		if note.Seq != int64(i+1) {
			t.Fatalf("notification %d has the sequence %d", i, note.Seq)
		}
	}
}

// What one row is refused for does not touch the others of its transaction.
func TestPoisonRowHurtsOnlyItself(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		gate := newGate("settle")
		s := open(t, url, store.Options{Fault: gate.fault})
		jobs := running(t, s, 30)
		gate.close()
		var answered sync.WaitGroup
		errs := make([]error, len(jobs))
		for i, j := range jobs {
			answered.Go(func() {
				note := inbox.Notification{ID: j.ID, Stream: "s", Type: "info", Message: "m"}
				if i == 13 {
					note.ID = "no uuid"
					if url[0] == 's' {
						note.ID = jobs[12].ID // SQLite takes any text; this one is taken twice
					}
				}
				_, errs[i] = s.Settle(t.Context(), done(j, note))
			})
		}
		gate.open()
		answered.Wait()
		bad := 0
		for i, err := range errs {
			if err != nil {
				bad++
				if job.CodeOf(err) != job.CodeInternal {
					t.Errorf("settle %d: %v; want it refused", i, err)
				}
			}
		}
		if bad != 1 {
			t.Fatalf("%d settles were refused, want the poisoned one: %v", bad, errs)
		}
		wantDense(t, s, "s", len(jobs)-1)
	})
}

// gate makes the transactions of an operation wait, so that a batch gathers.
type gate struct {
	op string
	mu sync.RWMutex
}

func newGate(op string) *gate { return &gate{op: op} }
func (g *gate) close()        { g.mu.Lock() }
func (g *gate) open()         { g.mu.Unlock() }
func (g *gate) fault(op, point string) error {
	if op == g.op && point == "begin" {
		g.mu.RLock()
		defer g.mu.RUnlock()
	}
	return nil
}

// When the database stays away, callers are told so in time, and what was
// told failed may have happened but is never half done.
func TestDatabaseStaysAway(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		var away atomic.Bool
		s := open(t, url, store.Options{RepeatFor: 200 * time.Millisecond, Fault: func(op, point string) error {
			if away.Load() && point == "begin" {
				return errCut
			}
			return nil
		}})
		away.Store(true)
		r := request()
		if _, err := s.Accept(t.Context(), r); job.CodeOf(err) != job.CodeTemporary {
			t.Fatalf("accept: %v, want a temporary error", err)
		}
		away.Store(false)
		if _, err := s.Find(t.Context(), r.Base); job.CodeOf(err) != job.CodeNotFound {
			t.Fatalf("find: %v, want not found", err)
		}
		if _, err := s.Accept(t.Context(), r); err != nil {
			t.Fatalf("the repeat: %v", err)
		}
	})
}

// A caller that goes before its turn is not carried out; one that goes
// afterwards is told that nobody knows.
func TestCallerGoes(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		begun := make(chan struct{}, 10)
		gate := newGate("accept")
		s := open(t, url, store.Options{Fault: func(op, point string) error {
			if op == "accept" && point == "begin" {
				begun <- struct{}{}
			}
			return gate.fault(op, point)
		}})
		gate.close()
		taken, waiting := request(), request()
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := s.Accept(ctx, taken); first <- err }()
		<-begun
		cancel()
		if err := <-first; job.CodeOf(err) != job.CodeTemporary {
			t.Errorf("the taken one: %v", err)
		}
		if _, err := s.Accept(ctx, waiting); job.CodeOf(err) != job.CodeTemporary || !errors.Is(err, context.Canceled) {
			t.Errorf("the waiting one: %v", err)
		}
		gate.open()
		if _, err := s.Accept(t.Context(), taken); err != nil {
			t.Errorf("the taken one again: %v", err)
		}
	})
}

// A statement that gets no answer ends in time though its caller set no limit.
func TestSilentDatabase(t *testing.T) {
	url := testkit.Postgres(t)
	s := open(t, url, store.Options{RepeatFor: 300 * time.Millisecond})
	j := running(t, s, 1)[0]
	hold, err := raw(t, url).Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold.Exec("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"settle": func() error { _, err := s.Settle(ctx, done(j)); return err },
		"extend": func() error {
			_, err := s.Extend(ctx, time.Minute, []job.RunRef{{ID: j.ID, Run: j.Runs}})
			return err
		},
		"find": func() error { _, err := s.Find(ctx, j.ID); return err },
	} {
		began := time.Now()
		if err := call(); job.CodeOf(err) != job.CodeTemporary {
			t.Errorf("%s: %v, want a temporary error", name, err)
		}
		if took := time.Since(began); took > 10*time.Second { // the server's own limit is 15 s
			t.Errorf("%s took %v", name, took)
		}
	}
	if err := hold.Rollback(); err != nil {
		t.Fatal(err)
	}
	if x, err := s.Settle(ctx, done(j)); err != nil || x.State != job.Done {
		t.Errorf("settle, when it answers again: %+v, %v", x, err)
	}
}

// Two processes that claim, settle and cancel the same jobs at the same time
// never wait for each other for good, and each job runs once.
func TestReplicasDoNotDeadlock(t *testing.T) {
	url := testkit.Postgres(t)
	log, lines := testkit.CaptureLog(t)
	replica := func() *store.Store {
		s, err := store.Open(t.Context(), store.Config{URL: url, AutoMigrate: true}, log, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	replicas := []*store.Store{replica(), replica(), replica()}
	const n = 60
	var ids []job.ID
	for range n {
		r := request()
		if _, err := replicas[0].Accept(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.Base)
	}
	var granted atomic.Int64
	each(len(replicas)*8, func(i int) {
		s := replicas[i%len(replicas)]
		mine := slices.Clone(ids)
		if i%2 == 0 {
			slices.Reverse(mine)
		}
		for k, id := range mine[:n/2+i] {
			if k%7 == 6 {
				if _, err := s.Change(t.Context(), mine[k-6:k], func(j *job.Job, now time.Time) ([]job.Event, error) {
					j.UpdatedAt = now
					return []job.Event{{Job: j.ID, At: now, Kind: "touched", State: j.State}}, nil
				}); err != nil {
					t.Errorf("change: %v", err)
				}
			}
			c, err := s.Claim(t.Context(), claimOf(id))
			if err != nil {
				t.Errorf("claim: %v", err)
				continue
			}
			if c.Verdict != job.Granted {
				continue
			}
			granted.Add(1)
			streams := []string{"a", "b", "c"}
			note := inbox.Notification{ID: id, Stream: streams[k%3], Type: "info", Message: "m"}
			if x, err := s.Settle(t.Context(), done(c.Job, note)); err != nil || x.Late {
				t.Errorf("settle: %+v, %v", x, err)
			}
		}
	})
	if granted.Load() != n {
		t.Errorf("%d claims were granted for %d jobs", granted.Load(), n)
	}
	if met := lines.Count("deadlock"); met > 0 {
		t.Errorf("%d deadlocks", met)
	}
}

// The real thing: PostgreSQL's answers to commits are lost on the wire.
func TestLostCommitAnswers(t *testing.T) {
	server := testkit.PostgresServer(t)
	direct := server.Database()
	proxy := testkit.TCPProxy(t, hostOf(t, direct))
	s := open(t, through(t, direct, proxy.Addr), store.Options{})
	const n = 30
	for i := range n {
		if i%3 == 0 {
			proxy.DropReplyTo("commit")
		}
		j := running(t, s, 1)[0]
		if i%3 == 1 {
			proxy.DropReplyTo("commit")
		}
		note := inbox.Notification{ID: j.ID, Stream: "everyone", Type: "info", Message: "m"}
		if x, err := s.Settle(t.Context(), done(j, note)); err != nil || x.Late {
			t.Fatalf("settle %d: %+v, %v", i, x, err)
		}
	}
	wantDense(t, s, "everyone", n)
}

// PostgreSQL restarts under load: callers wait a little, nothing is lost.
func TestPostgresRestarts(t *testing.T) {
	server := testkit.PostgresServer(t)
	s := open(t, server.Database(), store.Options{RepeatFor: 30 * time.Second})
	var accepted sync.Map
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := request()
				if _, err := s.Accept(context.Background(), r); err == nil {
					accepted.Store(r.Base, true)
				} else if job.CodeOf(err) != job.CodeTemporary {
					t.Errorf("accept: %v", err)
				}
			}
		})
	}
	count := func() (n int) { accepted.Range(func(_, _ any) bool { n++; return true }); return n }
	testkit.WaitFor(t, 10*time.Second, "the first accepts", func() bool { return count() > 50 })
	server.Kill()
	server.Start()
	before := count()
	testkit.WaitFor(t, 20*time.Second, "accepts after the restart", func() bool { return count() > before+50 })
	close(stop)
	callers.Wait()
	accepted.Range(func(id, _ any) bool {
		if _, err := s.Find(t.Context(), id.(job.ID)); err != nil {
			t.Errorf("an accepted job is lost: %v", err)
		}
		return true
	})
}
