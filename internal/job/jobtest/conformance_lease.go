package jobtest

import "github.com/postrider/postrider/internal/job"

var leaseScenarios = []scenario{
	{"extended while it is the job's", func(s *suite) {
		j := s.claim(s.accept())
		run := ref(j)
		s.clock.Advance(lease - 2*slack)
		got := s.extend(run)
		equal(s, "runs that go on", len(got), 1)
		equal(s, "cancel requested", got[run].CancelRequested, false)
		s.near("lease until", s.find(j.ID).LeaseUntil, s.clock.Now().Add(lease))
		s.clock.Advance(3 * slack) // past the end of the first lease
		equal(s, "verdict", s.tryClaim(j.ID).Verdict, job.Busy)
	}},

	{"nothing to extend", func(s *suite) { equal(s, "runs that go on", len(s.extend()), 0) }},

	{"lost runs are missing", func(s *suite) {
		replaced := s.claim(s.accept())
		s.die()
		s.claim(replaced.ID)
		settled := s.claim(s.accept())
		s.settle(settled, temporary(0))
		waiting := job.RunRef{ID: s.accept(), Run: 1}
		unknown := job.RunRef{ID: job.NewID(), Run: 1}
		mine := s.claim(s.accept())
		got := s.extend(ref(replaced), ref(settled), waiting, unknown, ref(mine))
		if _, ok := got[ref(mine)]; !ok || len(got) != 1 {
			s.Errorf("%v go on, want run %v alone", got, ref(mine))
		}
	}},

	{"a lease that ended unnoticed is the run's still", func(s *suite) {
		j := s.claim(s.accept())
		s.die()
		equal(s, "runs that go on", len(s.extend(ref(j))), 1)
		equal(s, "verdict", s.tryClaim(j.ID).Verdict, job.Busy)
	}},

	{"tells of a cancellation", func(s *suite) {
		j, other := s.claim(s.accept()), s.claim(s.accept())
		s.requestCancel(j.ID)
		got := s.extend(ref(j), ref(other))
		equal(s, "cancel requested", got[ref(j)].CancelRequested, true)
		equal(s, "cancel requested of another", got[ref(other)].CancelRequested, false)
	}},

	{"many runs at once", func(s *suite) {
		var runs []job.RunRef
		for _, id := range s.acceptBatch(300) {
			runs = append(runs, ref(s.claim(id)))
		}
		together(4, func(i int) {
			part := runs[i*75 : (i+1)*75]
			got, err := s.store.Extend(s.ctx, lease, part)
			if err != nil || len(got) != len(part) {
				s.Errorf("%d of %d runs go on: %v", len(got), len(part), err)
			}
		})
	}},

	{"point of no return", func(s *suite) {
		j := s.claim(s.accept())
		for range 2 {
			s.ok(s.store.PassNoReturn(s.ctx, ref(j)), "passing the point of no return")
			equal(s, "run that passed", s.find(j.ID).NoReturnRun, 1)
		}
		s.wantEvents(j.ID, job.EventAccepted, job.EventStarted)
		s.requestCancel(j.ID)
		s.ok(s.store.PassNoReturn(s.ctx, ref(j)), "repeating after a cancellation that came too late")
	}},

	{"point of no return of a lost run", func(s *suite) {
		replaced := s.claim(s.accept())
		s.die()
		s.claim(replaced.ID)
		settled := s.claim(s.accept())
		s.settle(settled, done())
		for _, run := range []job.RunRef{
			ref(replaced), ref(settled), {ID: s.accept(), Run: 1}, {ID: job.NewID(), Run: 1},
		} {
			s.wantCode(s.store.PassNoReturn(s.ctx, run), job.CodeConflict)
		}
		equal(s, "run that passed", s.find(replaced.ID).NoReturnRun, 0)
	}},

	{"point of no return of a job to be cancelled", func(s *suite) {
		j := s.claim(s.accept())
		s.requestCancel(j.ID)
		s.wantCode(s.store.PassNoReturn(s.ctx, ref(j)), job.CodeCancelled)
		equal(s, "run that passed", s.find(j.ID).NoReturnRun, 0)
	}},
}

func ref(j job.Job) job.RunRef { return job.RunRef{ID: j.ID, Run: j.Runs} }

func (s *suite) extend(runs ...job.RunRef) map[job.RunRef]job.Extended {
	s.Helper()
	got, err := s.store.Extend(s.ctx, lease, runs)
	s.ok(err, "extending")
	return got
}
