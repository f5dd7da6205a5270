package store_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

// Notifications go from streams that nothing comes to any more, and from no
// others; a stream that wakes up goes on counting.
func TestPruneInactive(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		clock := jobtest.NewClock()
		s := open(t, url, store.Options{Clock: clock.Now})
		ctx := t.Context()
		put := func(stream string, n int) {
			t.Helper()
			for range n {
				id := job.NewID()
				_, err := s.Accept(ctx, job.Request{Base: id, Jobs: []job.New{{ID: id, Type: "test", Queue: "default", Payload: []byte("{}"), MaxAttempts: 1, OnAmbiguous: "resend"}}})
				if err != nil {
					t.Fatal(err)
				}
				c, err := s.Claim(ctx, job.Claim{ID: id, Token: string(id), Worker: "w", Lease: time.Minute})
				if err != nil || c.Verdict != job.Granted {
					t.Fatal(c.Verdict, err)
				}
				o := job.Succeeded("")
				o.Effects = []job.Effect{inbox.Notification{ID: id, Stream: stream, Type: "info", Message: "hello"}}
				if _, err := s.Settle(ctx, job.Plan(&c.Job, tasks.DefaultBackoff, o)); err != nil {
					t.Fatal(err)
				}
			}
		}
		count := func(stream string) int {
			t.Helper()
			all, err := s.After(ctx, stream, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		}
		put("user:Old", 5)
		put("user:a", 1)
		put("user:old", 4)
		clock.Advance(30 * 24 * time.Hour)
		put("user:a", 1) // which keeps its old one too
		put("user:new", 1)

		after, total, calls := "", 0, 0
		for {
			n, next, err := s.PruneInactive(ctx, 7*24*time.Hour, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			total, after = total+n, next
			if calls++; n < 2 || calls > 10 {
				break
			}
		}
		if total != 9 || calls != 5 || count("user:Old")+count("user:old") != 0 || count("user:a") != 2 || count("user:new") != 1 {
			t.Errorf("%d pruned in %d calls", total, calls)
		}
		put("user:old", 1)
		if all, err := s.After(ctx, "user:old", 0, 10); err != nil || len(all) != 1 || all[0].Seq != 5 {
			t.Errorf("the stream goes on with %+v (%v)", all, err)
		}
	})
}
