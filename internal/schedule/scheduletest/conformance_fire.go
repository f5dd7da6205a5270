package scheduletest

import (
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/tasks"
)

func fires(s *suite) {
	due := s.clock.Now()
	s.put(s.entry("a"))
	s.clock.Advance(2 * time.Second)
	f := s.fire("a")
	if len(f.Runs) != 1 || len(f.Jobs) != 1 {
		s.Fatalf("it came to %+v", f)
	}
	now := f.Runs[0].At
	if now.Before(s.clock.Now()) {
		s.Errorf("it happened at %v, before %v", now, s.clock.Now())
	}
	e := s.get("a")
	s.same("the next slot", e.NextAt, due.Add(time.Minute))
	s.same("the last slot", e.LastSlot, due)
	s.same("the time of the last job", e.LastAt, now)
	s.same("the last job", e.LastJob, f.Jobs[0].ID)
	s.same("when people changed it", e.UpdatedAt, due)

	j, err := s.jobs.Find(s.ctx, f.Jobs[0].ID)
	s.ok(err, "finding the job")
	if j.State != job.Waiting || j.Type != "test:job" || string(j.Payload) != `{"n":1}` || j.AcceptedBy != "schedule:x" || j.Dispatched || j.RunAt.After(now) {
		s.Errorf("the job is %+v", j)
	}
	events, err := s.jobs.Events(s.ctx, j.ID)
	s.ok(err, "reading events")
	if len(events) != 1 || events[0].Kind != job.EventAccepted {
		s.Errorf("its events are %+v", events)
	}
	r := s.runs("a")
	if len(r) != 1 || r[0].Seq == 0 {
		s.Fatalf("the runs are %+v", r)
	}
	want := f.Runs[0]
	want.Seq, want.JobState = r[0].Seq, job.Waiting
	s.same("the run", r[0], want)

	// A firing need not make a job, and may end the schedule.
	s.put(s.entry("b"))
	f, err = s.store.Fire(s.ctx, "b", func(e *schedule.Entry, now time.Time, _ bool) schedule.Firing {
		return schedule.Firing{Last: e.NextAt, Runs: []schedule.Run{{Name: e.Name, Slot: e.NextAt, At: now, Outcome: schedule.RunMissed, Reason: "late\x00"}}}
	})
	s.ok(err, "firing")
	if e := s.get("b"); len(f.Runs) != 1 || !e.NextAt.IsZero() || e.LastJob != "" || len(s.runs("b")) != 1 {
		s.Errorf("it came to %+v", e)
	}
	s.same("the number of jobs", len(s.allJobs()), 1)
}

func firesOnce(s *suite) {
	const slots = 5
	s.put(s.entry("a"))
	for range slots {
		var fired atomic.Int32
		together(6, func(int) {
			f, err := s.store.Fire(s.ctx, "a", plan)
			if err != nil {
				s.Errorf("firing: %v", err)
			}
			fired.Add(int32(len(f.Jobs)))
		})
		s.same("how often it fired", fired.Load(), int32(1))
		s.clock.Advance(time.Minute)
	}
	s.same("the number of jobs", len(s.allJobs()), slots)
	s.same("the number of runs", len(s.runs("a")), slots)
}

func firesNothingThatIsNotDue(s *suite) {
	s.put(s.entry("later", at(s.clock.Now().Add(time.Minute))))
	s.put(s.entry("never", at(time.Time{})))
	for _, name := range []string{"later", "never", "missing"} {
		f, err := s.store.Fire(s.ctx, name, func(*schedule.Entry, time.Time, bool) schedule.Firing {
			s.Errorf("%s was planned", name)
			return schedule.Firing{}
		})
		s.ok(err, "firing")
		s.same("what it came to", f, schedule.Firing{})
	}
}

func leavesClaimedSlotsOut(s *suite) {
	s.put(s.entry("a"))
	s.fire("a")
	e := s.get("a")
	e.NextAt = e.LastSlot // as when the clock was put back
	s.put(e)
	f, err := s.store.Fire(s.ctx, "a", func(e *schedule.Entry, now time.Time, busy bool) schedule.Firing {
		f := plan(e, now, busy)
		e.NextAt = e.NextAt.Add(time.Second)
		more := plan(e, now, busy)
		return schedule.Firing{Runs: append(f.Runs, more.Runs...), Jobs: append(f.Jobs, more.Jobs...), Last: more.Last, Next: more.Next}
	})
	s.ok(err, "firing")
	if len(f.Runs) != 1 || len(f.Jobs) != 1 || f.Runs[0].JobID != f.Jobs[0].ID {
		s.Errorf("it came to %+v", f)
	}
	s.same("the number of jobs", len(s.allJobs()), 2)
	s.same("the last job", s.get("a").LastJob, f.Jobs[0].ID)
}

func tellsOfUnfinishedJobs(s *suite) {
	busy := func(want bool) {
		s.Helper()
		_, err := s.store.Fire(s.ctx, "a", func(e *schedule.Entry, now time.Time, busy bool) schedule.Firing {
			s.same("busy", busy, want)
			return plan(e, now, busy)
		})
		s.ok(err, "firing")
		s.clock.Advance(time.Minute)
	}
	finish := func() {
		s.Helper()
		for _, j := range s.allJobs() {
			if j.State.Final() {
				continue
			}
			c, err := s.jobs.Claim(s.ctx, job.Claim{ID: j.ID, Token: string(j.ID), Worker: "w", Lease: time.Hour})
			s.ok(err, "claiming")
			if c.Verdict == job.Granted {
				_, err = s.jobs.Settle(s.ctx, job.Plan(&c.Job, tasks.DefaultBackoff, job.Succeeded("did it")))
				s.ok(err, "settling")
			}
		}
	}
	s.put(s.entry("other"))
	s.fire("other")
	s.put(s.entry("a"))
	busy(false)
	busy(true)
	finish()
	busy(false)
}

func firesOrDeletes(s *suite) {
	for i := range 20 {
		name := numbered(i)
		s.put(s.entry(name))
		var f schedule.Firing
		together(2, func(i int) {
			var err error
			if i == 0 {
				f, err = s.store.Fire(s.ctx, name, plan)
			} else {
				_, err = s.store.Change(s.ctx, name, func(*schedule.Entry, time.Time) (*schedule.Entry, error) { return nil, nil })
			}
			if err != nil {
				s.Errorf("firing and deleting: %v", err)
			}
		})
		s.wantGone(name)
		s.same("the number of runs", len(s.runs(name)), len(f.Jobs))
		for _, n := range f.Jobs {
			_, err := s.jobs.Find(s.ctx, n.ID)
			s.ok(err, "finding the job")
		}
	}
}
