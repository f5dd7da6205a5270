package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/inbox/inboxtest"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is a Publisher that notes what it is given.
type line struct {
	pushed []string
	err    error
	hangs  bool
}

func (l *line) Publish(ctx context.Context, notes []inbox.Notification) error {
	for _, n := range notes {
		l.pushed = append(l.pushed, fmt.Sprintf("%s %d", n.Stream, n.Seq))
	}
	if l.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.err
}

func (l *line) PublishCounts(_ context.Context, c inbox.Counts) error {
	l.pushed = append(l.pushed, fmt.Sprintf("%s has %d", c.User, c.Unread))
	return l.err
}

func pusher(t *testing.T, to inbox.Publisher) (*inbox.Pusher, *prometheus.Registry, *testkit.Log) {
	t.Helper()
	log, lines := testkit.CaptureLog(t)
	reg := prometheus.NewRegistry()
	p, err := inbox.NewPusher(to, inbox.NothingKept{}, log, reg)
	if err != nil {
		t.Fatal(err)
	}
	return p, reg, lines
}

func note(stream string, seq int64) []inbox.Notification {
	return []inbox.Notification{{Stream: stream, Seq: seq}}
}

func dropped(t *testing.T, reg *prometheus.Registry) float64 {
	return testkit.Samples(t, reg)["postrider_pushes_dropped_total"]
}

// What is committed and marked is pushed in that order; a failure is told of
// once, costs that push alone, and keeps nobody waiting.
func TestPusher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &line{}
		p, reg, log := pusher(t, to)
		p.Committed(note("user:a", 1)) // before it runs, as at a start
		p.Start()
		p.Marked(inbox.Counts{User: "a", Unread: 1})
		synctest.Wait()
		to.err = errors.New("away")
		p.Committed(note("user:a", 2))
		p.Committed(note("user:a", 3))
		synctest.Wait()
		to.err = nil
		p.Committed(note("user:a", 4))
		synctest.Wait()
		p.Stop()
		if got := fmt.Sprint(to.pushed); got != "[user:a 1 a has 1 user:a 2 user:a 3 user:a 4]" || dropped(t, reg) != 2 {
			t.Errorf("pushed were %s, %v dropped", got, dropped(t, reg))
		}
		if log.Count("pushing to connected clients fails") != 1 || log.Count("works again") != 1 {
			t.Errorf("the log reads %s", log)
		}
	})
}

// A line that hangs costs its pushes, and nobody who commits.
func TestPusherHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &line{hangs: true}
		p, reg, _ := pusher(t, to)
		p.Start()
		began := time.Now()
		for i := range 3000 {
			p.Committed(note("user:a", int64(i)))
		}
		if time.Since(began) != 0 || dropped(t, reg) < 1900 {
			t.Errorf("it took %s, and %v were dropped", time.Since(began), dropped(t, reg))
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if len(to.pushed) != 3 { // each had its time
			t.Errorf("%d were tried", len(to.pushed))
		}
		p.Stop()
	})
}

func TestPusherThatNeverStarted(t *testing.T) {
	p, _, _ := pusher(t, inbox.Nobody{})
	p.Marked(inbox.Counts{})
	p.Stop()
}

// A change of marks pushes the counts that came of it.
func TestMarksArePushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &line{}
		p, _, _ := pusher(t, to)
		p.Start()
		s := inbox.NewService(inboxtest.NewMemory(time.Now), p)
		v := inbox.Viewer{User: "a"}
		for range 3 {
			if _, _, err := s.Post(t.Context(), inbox.Notification{ID: job.NewID(), Stream: inbox.Of("a"), Type: "info", Message: "m"}); err != nil {
				t.Fatal(err)
			}
		}
		page, err := s.List(t.Context(), v, inbox.Current, inbox.Newest, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Mark(t.Context(), v, page.Entries[0].ID, inbox.Read); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Mark(t.Context(), v, job.NewID(), inbox.Read); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("marking nothing: %v", err)
		}
		if _, err := s.MarkAll(t.Context(), v, inbox.Archived); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.Stop()
		if got := fmt.Sprint(to.pushed); got != "[a has 2 a has 0]" {
			t.Errorf("pushed were %s", got)
		}
	})
}

// What came after is bounded over all streams together, and says how far it
// reaches, so that nobody who goes on from there misses any.
func TestAfterIsBounded(t *testing.T) {
	s := inbox.NewService(inboxtest.NewMemory(time.Now), unheard(t))
	v := inbox.Viewer{User: "a", Rooms: []string{"r"}}
	for i := range 3 * inbox.MaxPage {
		stream := []string{inbox.Of("a"), inbox.Everyone, inbox.OfRoom("r")}[i%3]
		if _, _, err := s.Post(t.Context(), inbox.Notification{ID: job.NewID(), Stream: stream, Type: "info", Message: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	at := map[string]int64{inbox.Of("a"): 50, inbox.Everyone: 0, inbox.OfRoom("r"): inbox.MaxPage}
	got := map[string]int64{}
	for round := 0; ; round++ {
		var from []inbox.Position
		for _, stream := range v.Streams() {
			from = append(from, inbox.Position{Stream: stream, Seq: at[stream]})
		}
		found, err := s.After(t.Context(), v, from)
		if err != nil {
			t.Fatal(err)
		}
		n, more := 0, false
		for _, f := range found {
			for _, one := range f.Notifications {
				if at[f.Stream]++; one.Seq != at[f.Stream] {
					t.Fatalf("%s has %d, want %d", f.Stream, one.Seq, at[f.Stream])
				}
				got[f.Stream]++
			}
			if f.Through != at[f.Stream] {
				t.Fatalf("%s is told through %d, and stands at %d", f.Stream, f.Through, at[f.Stream])
			}
			n, more = n+len(f.Notifications), more || f.More
		}
		if n > inbox.MaxPage || round > 5 {
			t.Fatalf("round %d told of %d", round, n)
		}
		if !more {
			break
		}
	}
	if got[inbox.Of("a")] != inbox.MaxPage-50 || got[inbox.Everyone] != inbox.MaxPage || got[inbox.OfRoom("r")] != 0 {
		t.Errorf("told were %v", got)
	}
	anew, err := s.After(t.Context(), v, []inbox.Position{{Stream: inbox.Everyone, Seq: math.MaxInt64}})
	if err != nil || anew[0].Notifications[0].Seq != 1 {
		t.Errorf("from beyond its end: %+v, %v", anew, err)
	}
}

func TestCursor(t *testing.T) {
	c := inbox.Cursor{At: time.UnixMilli(1234), Seq: 7, ID: job.NewID()}
	for _, c := range []inbox.Cursor{c, inbox.Newest} {
		if got, err := inbox.ParseCursor(c.String()); err != nil || got.Compare(c) != 0 {
			t.Errorf("%+v is read back as %+v, %v", c, got, err)
		}
	}
	for _, bad := range []string{"", "x", c.String() + "A", c.String()[:5], "MSAy", "MSAyIHg"} {
		if _, err := inbox.ParseCursor(bad); job.CodeOf(err) != job.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	later := inbox.Cursor{At: time.UnixMilli(1234), Seq: 8, ID: c.ID}
	if c.Compare(later) >= 0 || later.Compare(c) <= 0 || c.Compare(inbox.Newest) >= 0 {
		t.Error("places are out of order")
	}
}

// unheard is a Pusher that nobody listens to.
func unheard(t *testing.T) *inbox.Pusher {
	p, _, _ := pusher(t, inbox.Nobody{})
	return p
}
