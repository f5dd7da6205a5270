package store_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/store"
)

// What is old goes from every stream, and what was marked of it; a stream that
// is emptied goes on counting.
func TestPruneOld(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		clock := jobtest.NewClock()
		s := open(t, url, store.Options{Clock: clock.Now})
		ctx := t.Context()
		put := func(stream string, n int) {
			t.Helper()
			for range n {
				got, _, err := s.Post(ctx, inbox.Notification{ID: job.NewID(), Stream: stream, Type: "info", Message: "hello"})
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := s.Mark(ctx, inbox.Viewer{User: stream[len("user:"):]}, got.ID, inbox.Archived); err != nil {
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
		put("user:a", 2)
		put("user:new", 1)

		after, total, calls := "", 0, 0
		for {
			n, next, err := s.PruneOld(ctx, 7*24*time.Hour, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			total, after = total+n, next
			if calls++; n < 2 || calls > 10 {
				break
			}
		}
		if total != 10 || calls != 6 || count("user:Old")+count("user:old") != 0 || count("user:a") != 2 || count("user:new") != 1 {
			t.Errorf("%d pruned in %d calls", total, calls)
		}
		var marked int
		if err := raw(t, url).QueryRow("SELECT count(*) FROM inbox_exceptions").Scan(&marked); err != nil || marked != 3 {
			t.Errorf("%d marks are left (%v), want 3", marked, err)
		}
		put("user:old", 1)
		if all, err := s.After(ctx, "user:old", 0, 10); err != nil || len(all) != 1 || all[0].Seq != 5 {
			t.Errorf("the stream goes on with %+v (%v)", all, err)
		}
	})
}
