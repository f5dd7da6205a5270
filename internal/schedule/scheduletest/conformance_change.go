package scheduletest

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
)

func keepsAllFields(s *suite) {
	now := s.clock.Now()
	full := schedule.Entry{
		Definition: schedule.Definition{
			Name: "full:1.a_b@c+d-e", Type: "email:send", Payload: []byte(`{"subject":"Grüße, 世界"}`), Queue: "bulk",
			Cron: "0 8 * * *", TimeZone: "Europe/Berlin", Missed: schedule.MissedAll, MissedLimit: 7, Overlap: schedule.OverlapSkip,
		},
		Paused: true, Source: schedule.FromFile, CreatedAt: now.Add(-3 * time.Hour), UpdatedAt: now.Add(-2 * time.Hour),
		NextAt: now.Add(time.Hour), LastSlot: now.Add(-time.Hour), LastAt: now.Add(-time.Minute), LastJob: job.NewID(),
	}
	s.put(full)
	s.same("the entry", s.get(full.Name), full)
	bare := s.entry("bare", at(time.Time{}))
	s.put(bare)
	s.same("the entry", s.get("bare"), bare)
}

func changesAndDeletes(s *suite) {
	s.wantGone("a")
	s.put(s.entry("a"))
	want := s.entry("a", at(time.Time{}))
	want.Paused, want.Payload = true, []byte(`{}`)
	e, err := s.store.Change(s.ctx, "a", func(old *schedule.Entry, now time.Time) (*schedule.Entry, error) {
		if old == nil || old.Name != "a" || now.IsZero() {
			s.Errorf("the entry is %v at %v", old, now)
		}
		return &want, nil
	})
	s.ok(err, "changing")
	s.same("what Change returns", e, want)
	s.same("the entry", s.get("a"), want)

	gone := func(*schedule.Entry, time.Time) (*schedule.Entry, error) { return nil, nil }
	for range 2 { // the second time there is nothing to delete
		_, err = s.store.Change(s.ctx, "a", gone)
		s.ok(err, "deleting")
		s.wantGone("a")
	}
}

func undoesAfterAnError(s *suite) {
	s.put(s.entry("a"))
	for _, name := range []string{"a", "b"} {
		_, err := s.store.Change(s.ctx, name, func(*schedule.Entry, time.Time) (*schedule.Entry, error) {
			return nil, job.Wrap(job.CodeConflict, errRefused, "no")
		})
		if !errors.Is(err, errRefused) || job.CodeOf(err) != job.CodeConflict {
			s.Errorf("the error is %v", err)
		}
	}
	s.get("a")
	s.wantGone("b")
}

func createsOnce(s *suite) {
	var made atomic.Int32
	together(8, func(int) {
		mine := false
		_, err := s.store.Change(s.ctx, "a", func(old *schedule.Entry, _ time.Time) (*schedule.Entry, error) {
			if mine = old == nil; mine {
				e := s.entry("a")
				return &e, nil
			}
			return old, nil
		})
		if err != nil {
			s.Errorf("creating: %v", err)
		}
		if mine {
			made.Add(1)
		}
	})
	s.same("the number of creators", made.Load(), int32(1))
}

func listsByName(s *suite) {
	names := []string{"a", "a-b", "a.b", "a:b", "ab", "b"}
	for _, i := range []int{3, 0, 5, 1, 4, 2} {
		s.put(s.entry(names[i]))
	}
	all, err := s.store.List(s.ctx)
	s.ok(err, "listing")
	var got []string
	for _, e := range all {
		got = append(got, e.Name)
	}
	s.same("the list", got, names)
}

func listsWhatIsDue(s *suite) {
	now := s.clock.Now()
	for i, next := range []time.Time{now.Add(-time.Second), now.Add(-time.Minute), now, now.Add(time.Hour), {}} {
		s.put(s.entry(numbered(i), at(next)))
	}
	due := func(limit int, want ...string) {
		s.Helper()
		got, err := s.store.Due(s.ctx, limit)
		s.ok(err, "listing what is due")
		s.same("what is due", got, want)
	}
	due(10, numbered(1), numbered(0), numbered(2))
	due(2, numbered(1), numbered(0))
	s.clock.Advance(time.Hour)
	due(10, numbered(1), numbered(0), numbered(2), numbered(3))
}
