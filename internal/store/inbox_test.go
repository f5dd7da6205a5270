package store_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/inbox/inboxtest"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

func TestInboxProperty(t *testing.T) {
	checks := map[string]int{"sqlite": 5, "postgres": 10}
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			n, url, clock := checks[db.name], db.url(t), jobtest.NewClock()
			if os.Getenv("POSTRIDER_TEST_ALL") != "" {
				n = 300
			}
			s := open(t, url, store.Options{Clock: clock.Now, RepeatFor: slowRepeatFor})
			db := raw(t, url)
			inboxtest.Property(t, s, clock, func() {
				for _, table := range []string{"inboxes", "inbox_marks", "inbox_exceptions", "streams", "notifications"} {
					if _, err := db.Exec("DELETE FROM " + table); err != nil {
						t.Fatal(err)
					}
				}
			}, n)
		})
	}
}

// heard gathers what a store tells of.
type heard struct {
	mu   sync.Mutex
	seen map[job.ID]int
}

func (n *heard) notified(notes []inbox.Notification) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, one := range notes {
		n.seen[one.ID]++
	}
}

// Notifications of settled jobs and of nobody's come at once to a few streams
// in all orders, from two processes, while transactions fail before, in and
// after their commit: each stream's sequence is dense, each is there once, and
// each is told of once at most, after it was committed.
func TestStreamsAreDense(t *testing.T) {
	const each, streams = 60, 4
	onEach(t, func(t *testing.T, url string) {
		tell := &heard{seen: map[job.ID]int{}}
		var mu sync.Mutex
		chance := rand.New(rand.NewPCG(1, 2))
		fault := func(op, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			if (op == "settle" || op == "post") && chance.IntN(12) == 0 {
				return fmt.Errorf("the line is cut: %w", io.ErrUnexpectedEOF)
			}
			return nil
		}
		options := store.Options{Fault: fault, Notified: tell.notified, RepeatFor: slowRepeatFor}
		stores := []*store.Store{open(t, url, options)}
		if strings.HasPrefix(url, "postgres") {
			stores = append(stores, open(t, url, options))
		}
		var all sync.WaitGroup
		for i := range each {
			for k, s := range stores {
				all.Go(func() { settleNote(t, s, fmt.Sprintf("room:%d", (i+k)%streams)) })
				all.Go(func() { postTwice(t, s, fmt.Sprintf("room:%d", (i+k+1)%streams)) })
			}
		}
		all.Wait()
		total, seen := 0, map[job.ID]bool{}
		for i := range streams {
			notes, err := stores[0].After(t.Context(), fmt.Sprintf("room:%d", i), 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for k, n := range notes {
				if n.Seq != int64(k+1) || seen[n.ID] || k > 0 && n.CreatedAt.Before(notes[k-1].CreatedAt) {
					t.Fatalf("the %dth of stream %d is %+v", k+1, i, n)
				}
				seen[n.ID] = true
			}
			total += len(notes)
		}
		if want := 2 * each * len(stores); total != want {
			t.Errorf("there are %d, want %d", total, want)
		}
		for id, n := range tell.seen {
			if n != 1 || !seen[id] {
				t.Errorf("%s was told of %d times", id, n)
			}
		}
		if len(tell.seen) == 0 {
			t.Error("none was told of")
		}
	})
}

// settleNote carries a job to its end that makes a notification.
func settleNote(t *testing.T, s *store.Store, stream string) {
	ctx, id := t.Context(), job.NewID()
	_, err := s.Accept(ctx, job.Request{Base: id, Jobs: []job.New{{ID: id, Type: "test", Queue: "default", Payload: []byte("{}"), MaxAttempts: 1, OnAmbiguous: "resend"}}})
	if err != nil {
		t.Error(err)
		return
	}
	c, err := s.Claim(ctx, job.Claim{ID: id, Token: string(id), Worker: "w", Lease: time.Minute})
	if err != nil || c.Verdict != job.Granted {
		t.Error(c.Verdict, err)
		return
	}
	o := job.Succeeded("")
	o.Effects = []job.Effect{inbox.Notification{ID: id, Stream: stream, Type: "info", Message: "hello"}}
	if _, err := s.Settle(ctx, job.Plan(&c.Job, tasks.DefaultBackoff, o)); err != nil {
		t.Error(err)
	}
}

// postTwice posts a notification from two callers at the same time.
func postTwice(t *testing.T, s *store.Store, stream string) {
	n := inbox.Notification{ID: job.NewID(), Stream: stream, Type: "info", Message: "hello", Data: []byte("[1]")}
	var both sync.WaitGroup
	var got [2]inbox.Notification
	for i := range got {
		both.Go(func() {
			var err error
			if got[i], _, err = s.Post(t.Context(), n); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if got[0].Seq == 0 || got[0].Seq != got[1].Seq || !got[0].CreatedAt.Equal(got[1].CreatedAt) {
		t.Errorf("one notification is answered as %+v", got)
	}
}

// A notification that bears a job's id cannot keep that job from its end for
// long without anybody hearing of it, nor cost the stream a number.
func TestPostUnderAJobsID(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, url, store.Options{})
		ctx, id := t.Context(), job.NewID()
		if _, _, err := s.Post(ctx, inbox.Notification{ID: id, Stream: "room:a", Type: "info", Message: "x"}); err != nil {
			t.Fatal(err)
		}
		_, err := s.Accept(ctx, job.Request{Base: id, Jobs: []job.New{{ID: id, Type: "test", Queue: "default", Payload: []byte("{}"), MaxAttempts: 1, OnAmbiguous: "resend"}}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Claim(ctx, job.Claim{ID: id, Token: "t", Worker: "w", Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		o := job.Succeeded("")
		o.Effects = []job.Effect{inbox.Notification{ID: id, Stream: "room:a", Type: "info", Message: "hello"}}
		if _, err := s.Settle(ctx, job.Plan(&c.Job, tasks.DefaultBackoff, o)); job.CodeOf(err) != job.CodeInternal {
			t.Errorf("got %v", err)
		}
		if n, _, err := s.Post(ctx, inbox.Notification{ID: job.NewID(), Stream: "room:a", Type: "info", Message: "y"}); err != nil || n.Seq != 2 {
			t.Errorf("the next is %+v, %v", n, err)
		}
		if _, _, err := s.Post(ctx, inbox.Notification{ID: id, Stream: "room:b", Type: "info", Message: "x"}); job.CodeOf(err) != job.CodeConflict {
			t.Errorf("got %v", err)
		}
	})
}
