package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

// onSuppressions runs f on an empty list over each database.
func onSuppressions(t *testing.T, f func(t *testing.T, s *store.Store, list mail.Suppressions, clock jobtest.Clock)) {
	onEach(t, func(t *testing.T, url string) {
		clock := jobtest.NewClock()
		s := open(t, url, store.Options{Clock: clock.Now})
		f(t, s, s.Suppressions(), clock)
	})
}

// told is what a list says, less its numbers and times.
func told(all []mail.Suppression) []string {
	var out []string
	for _, s := range all {
		out = append(out, fmt.Sprintf("%s %s %s %s %s %s", s.Address, s.Category, s.Reason, s.Note, s.Actor, s.Job))
	}
	slices.Sort(out)
	return out
}

func TestSuppressKeepsEachReasonOnce(t *testing.T) {
	onSuppressions(t, func(t *testing.T, _ *store.Store, list mail.Suppressions, clock jobtest.Clock) {
		ctx := t.Context()
		id := string(job.NewID())
		began := clock.Now()
		suppress := func(all ...mail.Suppression) {
			t.Helper()
			if err := list.Suppress(ctx, all...); err != nil {
				t.Fatal(err)
			}
		}
		suppress(
			mail.Suppression{Address: "a@example.com", Reason: mail.Unsubscribe},
			mail.Suppression{Address: "a@example.com", Category: "news", Reason: mail.Unsubscribe},
			mail.Suppression{Address: "a@example.com", Reason: mail.Bounce, Note: "550 5.1.1", Job: id},
			mail.Suppression{Address: "b@example.com", Reason: mail.Manual, Note: "first", Actor: "ann"},
		)
		clock.Advance(time.Hour)
		suppress(
			mail.Suppression{Address: "b@example.com", Reason: mail.Manual, Note: "second", Actor: "bob"},
			mail.Suppression{Address: "b@example.com", Reason: mail.Manual, Note: "third\x00", Actor: "cat"},
		)
		got, err := list.Find(ctx, "a@example.com", "b@example.com", "c@example.com", "a@example.com")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"a@example.com  bounce 550 5.1.1  " + id,
			"a@example.com  unsubscribe   ",
			"a@example.com news unsubscribe   ",
			"b@example.com  manual third\uFFFD cat ",
		}
		if !slices.Equal(told(got), want) {
			t.Errorf("found %q, want %q", told(got), want)
		}
		for _, s := range got {
			if !s.At.Equal(began.Truncate(time.Millisecond)) {
				t.Errorf("%s is since %s, want %s", s.Address, s.At, began)
			}
		}
		if none, err := list.Find(ctx); len(none) != 0 || err != nil {
			t.Errorf("for nobody it found %v, %v", none, err)
		}
	})
}

func TestUnsuppress(t *testing.T) {
	onSuppressions(t, func(t *testing.T, _ *store.Store, list mail.Suppressions, _ jobtest.Clock) {
		ctx := t.Context()
		err := list.Suppress(ctx,
			mail.Suppression{Address: "a@example.com", Reason: mail.Unsubscribe},
			mail.Suppression{Address: "a@example.com", Category: "news", Reason: mail.Unsubscribe},
			mail.Suppression{Address: "a@example.com", Category: "news", Reason: mail.Manual},
			mail.Suppression{Address: "a@example.com", Reason: mail.Bounce},
			mail.Suppression{Address: "b@example.com", Reason: mail.Bounce},
		)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			f    mail.SuppressionFilter
			want []string
		}{
			{mail.SuppressionFilter{Address: "c@example.com"}, nil},
			{mail.SuppressionFilter{Address: "a@example.com", Category: "news", Reason: mail.Manual}, []string{"a@example.com news manual   "}},
			{mail.SuppressionFilter{Address: "a@example.com", Category: mail.AllMail, Reason: mail.Unsubscribe}, []string{"a@example.com  unsubscribe   "}},
			{mail.SuppressionFilter{Address: "a@example.com"}, []string{"a@example.com  bounce   ", "a@example.com news unsubscribe   "}},
			{mail.SuppressionFilter{Address: "a@example.com"}, nil},
		} {
			gone, err := list.Unsuppress(ctx, step.f)
			if err != nil || !slices.Equal(told(gone), step.want) {
				t.Errorf("%+v removed %q (%v), want %q", step.f, told(gone), err, step.want)
			}
		}
		if _, err := list.Unsuppress(ctx, mail.SuppressionFilter{Reason: mail.Bounce}); job.CodeOf(err) != job.CodeInternal {
			t.Errorf("without an address: %v", err)
		}
		if left, _ := list.List(ctx, mail.SuppressionFilter{Limit: 10}); len(left) != 1 {
			t.Errorf("left are %q", told(left))
		}
	})
}

func TestListSuppressions(t *testing.T) {
	onSuppressions(t, func(t *testing.T, _ *store.Store, list mail.Suppressions, _ jobtest.Clock) {
		ctx := t.Context()
		const n = 25
		for i := range n {
			s := mail.Suppression{Address: fmt.Sprintf("u%02d@example.com", i), Reason: mail.Unsubscribe, Category: "news"}
			if i%5 == 0 {
				s.Reason, s.Category = mail.Bounce, ""
			}
			if err := list.Suppress(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			f    mail.SuppressionFilter
			want int
		}{
			{mail.SuppressionFilter{}, n},
			{mail.SuppressionFilter{Reason: mail.Bounce}, 5},
			{mail.SuppressionFilter{Category: mail.AllMail}, 5},
			{mail.SuppressionFilter{Category: "news"}, 20},
			{mail.SuppressionFilter{Category: "offers"}, 0},
			{mail.SuppressionFilter{Address: "u07@example.com"}, 1},
			{mail.SuppressionFilter{Address: "u07@example.com", Reason: mail.Bounce}, 0},
		} {
			var seen []mail.Suppression
			f := c.f
			for f.Limit = 4; ; {
				page, err := list.List(ctx, f)
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, page...)
				if len(page) < f.Limit {
					break
				}
				f.Before = page[len(page)-1].Seq
			}
			if len(seen) != c.want || !slices.IsSortedFunc(seen, func(a, b mail.Suppression) int { return int(b.Seq - a.Seq) }) {
				t.Errorf("%+v lists %d, want %d: %q", c.f, len(seen), c.want, told(seen))
			}
		}
	})
}

// A bounce is on the list exactly when the outcome that says so is recorded.
func TestSuppressionAsEffect(t *testing.T) {
	onSuppressions(t, func(t *testing.T, s *store.Store, list mail.Suppressions, _ jobtest.Clock) {
		ctx := t.Context()
		id := job.NewID()
		_, err := s.Accept(ctx, job.Request{Base: id, Jobs: []job.New{{ID: id, Type: "test", Queue: "default", Payload: []byte("{}"), MaxAttempts: 1, OnAmbiguous: "resend"}}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Claim(ctx, job.Claim{ID: id, Token: "t", Worker: "w", Lease: time.Minute})
		if err != nil || c.Verdict != job.Granted {
			t.Fatal(c.Verdict, err)
		}
		outcome := job.PermanentFailure("no such user")
		outcome.Effects = []job.Effect{mail.Suppression{Address: "gone@example.com", Reason: mail.Bounce, Note: "550", Job: string(id)}}
		settlement := job.Plan(&c.Job, tasks.DefaultBackoff, outcome)

		stale := settlement
		stale.Run++
		if got, err := s.Settle(ctx, stale); err != nil || !got.Late {
			t.Fatalf("a stale run is settled as %+v (%v)", got, err)
		}
		if found, _ := list.Find(ctx, "gone@example.com"); len(found) != 0 {
			t.Fatalf("a late outcome suppressed %q", told(found))
		}
		for range 2 { // the second is a repeat after a lost answer
			if got, err := s.Settle(ctx, settlement); err != nil || got.State != job.Failed {
				t.Fatalf("settled as %+v (%v)", got, err)
			}
		}
		found, err := list.Find(ctx, "gone@example.com")
		if want := []string{"gone@example.com  bounce 550  " + string(id)}; err != nil || !slices.Equal(told(found), want) {
			t.Errorf("found %q (%v), want %q", told(found), err, want)
		}
	})
}

// Many who suppress the same addresses in another order do not wait for each
// other in a circle.
func TestSuppressTogether(t *testing.T) {
	onSuppressions(t, func(t *testing.T, _ *store.Store, list mail.Suppressions, _ jobtest.Clock) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var all []mail.Suppression
		for i := range 50 {
			all = append(all, mail.Suppression{Address: fmt.Sprintf("u%d@example.com", i), Reason: mail.Manual})
		}
		var together sync.WaitGroup
		for i := range 8 {
			mine := slices.Clone(all)
			if i%2 == 1 {
				slices.Reverse(mine)
			}
			together.Go(func() {
				if err := list.Suppress(ctx, mine...); err != nil {
					t.Error(err)
				}
			})
		}
		together.Wait()
		if got, err := list.List(ctx, mail.SuppressionFilter{Limit: 1000}); len(got) != len(all) || err != nil {
			t.Errorf("%d are listed (%v), want %d", len(got), err, len(all))
		}
	})
}
