package jobtest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/job"
)

var mendScenarios = []scenario{
	{"undispatched", func(s *suite) {
		old := s.accept()
		delayed := s.accept(func(n *job.New) { n.Delay = time.Hour })
		arrived, cancelled := s.accept(), s.accept()
		s.dispatched(arrived)
		s.alter(cancelled, func(j *job.Job) { j.State, j.FinishedAt = job.Cancelled, s.clock.Now() })
		s.claim(s.accept())
		s.clock.Advance(time.Minute)
		young := s.accept()
		s.wantIDs("undispatched", s.undispatched(30*time.Second, 100), old, delayed)
		s.wantIDs("undispatched of any age", s.undispatched(0, 100), old, delayed, young)
		equal(s, "a page of one", len(s.undispatched(0, 1)), 1)
		s.dispatched(old)
		s.wantIDs("undispatched", s.undispatched(30*time.Second, 100), delayed)
		s.alter(old, func(j *job.Job) { j.Dispatches, j.Dispatched, j.DispatchAt = 2, false, s.clock.Now() })
		s.wantIDs("undispatched", s.undispatched(30*time.Second, 100), delayed)
		s.clock.Advance(time.Minute)
		s.wantIDs("undispatched", s.undispatched(30*time.Second, 100), delayed, young, old)
	}},

	{"dead leases", func(s *suite) {
		dead, other, extended := s.claim(s.accept()), s.claim(s.accept()), s.claim(s.accept())
		settled := s.claim(s.accept())
		s.accept()
		s.clock.Advance(lease / 2)
		s.settle(settled, done())
		s.extend(ref(extended))
		s.wantIDs("dead", s.deadLeases(100))
		s.clock.Advance(lease/2 + slack)
		s.wantIDs("dead", s.deadLeases(100), dead.ID, other.ID)
		equal(s, "a page of one", len(s.deadLeases(1)), 1)
		s.claim(dead.ID)
		s.wantIDs("dead", s.deadLeases(100), other.ID)
	}},

	{"overdue", func(s *suite) {
		first, second := s.accept(s.expiring(time.Minute)), s.accept(s.expiring(time.Minute))
		s.accept()
		s.accept(s.expiring(time.Hour))
		s.finish(done(), s.expiring(time.Minute))
		s.wantIDs("overdue", s.overdue(100))
		s.clock.Advance(time.Minute + slack)
		s.wantIDs("overdue", s.overdue(100), first, second)
		equal(s, "a page of one", len(s.overdue(1)), 1)
	}},

	{"unclaimed", func(s *suite) {
		old := s.accept()
		soon := s.accept(func(n *job.New) { n.Delay = time.Minute })
		later := s.accept(func(n *job.New) { n.Delay = time.Hour })
		elsewhere := s.accept(func(n *job.New) { n.Queue = "email" })
		s.dispatched(old, soon, later, elsewhere)
		unknown := s.accept() // not known to have arrived
		s.claim(s.accept())
		s.finish(done())
		s.clock.Advance(time.Minute + slack)
		s.wantIDs("unclaimed", s.unclaimed("default", 30*time.Second, 100), old)
		s.wantIDs("unclaimed of any age", s.unclaimed("default", 0, 100), old, soon)
		s.wantIDs("all that wait", s.unclaimed("default", -1, 100), old, soon, later, unknown)
		s.wantIDs("unclaimed of another queue", s.unclaimed("email", -1, 100), elsewhere)
		s.wantIDs("unclaimed of no queue", s.unclaimed("none", -1, 100))
	}},

	{"unclaimed tasks are whole", func(s *suite) {
		id := s.accept(func(n *job.New) { n.Type, n.Delay = "email:send", time.Hour })
		s.alter(id, func(j *job.Job) { j.Dispatches = 3 })
		s.ok(s.store.MarkDispatched(s.ctx, []job.Task{{ID: id, Dispatch: 3}}), "noting a dispatch")
		got, _, err := s.store.Unclaimed(s.ctx, "default", -1, job.Cursor{}, 10)
		s.ok(err, "listing")
		j := s.find(id)
		if len(got) != 1 || diff(got[0], j.Task(), 0) != "" {
			s.Errorf("the tasks are %+v, want %+v", got, j.Task())
		}
	}},

	{"pages of the unclaimed have no gaps", func(s *suite) {
		// Jobs of a batch are due at one moment: the id must tell them apart.
		want := slices.Concat(s.acceptBatch(25), s.acceptBatch(25, func(n *job.New) { n.Delay = time.Hour }))
		s.dispatched(want...)
		for _, limit := range []int{1, 7, 25, 100} {
			if got := s.unclaimed("default", -1, limit); !slices.Equal(got, want) {
				s.Errorf("pages of %d hold %d jobs, want the %d by time and id", limit, len(got), len(want))
			}
		}
	}},

	{"one leads", func(s *suite) {
		s.wantLead("a", true)
		s.wantLead("a", true)
		s.wantLead("b", false)
		got, err := s.store.Lead(s.ctx, "other", "b", lease)
		s.ok(err, "leading")
		equal(s, "leading another name", got, true)
	}},

	{"a lead ends", func(s *suite) {
		s.wantLead("a", true)
		s.clock.Advance(lease / 2)
		s.wantLead("a", true) // keeps it for a whole lease more
		s.clock.Advance(lease/2 + slack)
		s.wantLead("b", false)
		s.clock.Advance(lease / 2)
		s.wantLead("b", true)
		s.wantLead("a", false)
	}},

	{"a lead is yielded by its holder alone", func(s *suite) {
		s.ok(s.store.Yield(s.ctx, "mend", "a"), "yielding what nobody holds")
		s.wantLead("a", true)
		s.ok(s.store.Yield(s.ctx, "mend", "b"), "yielding another's")
		s.wantLead("b", false)
		s.ok(s.store.Yield(s.ctx, "mend", "a"), "yielding")
		s.wantLead("b", true)
	}},

	{"many want to lead at once", func(s *suite) {
		for range 2 {
			var leaders atomic.Int32
			together(10, func(i int) {
				got, err := s.store.Lead(s.ctx, "mend", fmt.Sprint("process-", i), lease)
				if err != nil {
					s.Errorf("leading: %v", err)
				}
				if got {
					leaders.Add(1)
				}
			})
			equal(s, "leaders", leaders.Load(), 1)
			s.die() // and once more for a lead that has ended
		}
	}},
}

// dispatched notes that the jobs' first tasks have arrived.
func (s *suite) dispatched(ids ...job.ID) {
	s.Helper()
	sent := make([]job.Task, len(ids))
	for i, id := range ids {
		sent[i] = job.Task{ID: id, Dispatch: 1}
	}
	s.ok(s.store.MarkDispatched(s.ctx, sent), "noting dispatches")
}

func (s *suite) undispatched(age time.Duration, limit int) []job.ID {
	s.Helper()
	got, err := s.store.Undispatched(s.ctx, age, limit)
	s.ok(err, "listing the undispatched")
	ids := make([]job.ID, len(got))
	for i, t := range got {
		ids[i] = t.ID
		if j := s.find(t.ID); diff(t, j.Task(), 0) != "" {
			s.Errorf("the task is %+v, want %+v", t, j.Task())
		}
	}
	return ids
}

func (s *suite) deadLeases(limit int) []job.ID {
	s.Helper()
	got, err := s.store.DeadLeases(s.ctx, limit)
	s.ok(err, "listing dead leases")
	return got
}

func (s *suite) overdue(limit int) []job.ID {
	s.Helper()
	got, err := s.store.Overdue(s.ctx, limit)
	s.ok(err, "listing the overdue")
	return got
}

// unclaimed pages through all of a queue.
func (s *suite) unclaimed(queue string, age time.Duration, limit int) []job.ID {
	s.Helper()
	var ids []job.ID
	var at job.Cursor
	for {
		page, next, err := s.store.Unclaimed(s.ctx, queue, age, at, limit)
		s.ok(err, "listing the unclaimed")
		if len(page) > limit {
			s.Fatalf("a page of %d has %d tasks", limit, len(page))
		}
		if len(page) == 0 {
			return ids
		}
		for _, t := range page {
			ids = append(ids, t.ID)
		}
		at = next
	}
}

// wantIDs compares sets.
func (s *suite) wantIDs(what string, got []job.ID, want ...job.ID) {
	s.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		s.Errorf("%s are %v, want %v", what, got, want)
	}
}

func (s *suite) wantLead(holder string, want bool) {
	s.Helper()
	got, err := s.store.Lead(s.ctx, "mend", holder, lease)
	s.ok(err, "leading")
	equal(s, holder+" leads", got, want)
}
