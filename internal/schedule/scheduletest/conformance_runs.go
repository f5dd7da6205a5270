package scheduletest

import (
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
)

func notesRunsByHand(s *suite) {
	s.put(s.entry("a"))
	r := schedule.Run{Name: "a", At: s.clock.Now(), Outcome: schedule.RunFired, JobID: job.NewID(), Actor: "Grüße"}
	for range 2 { // the second is a repeat
		s.ok(s.store.Note(s.ctx, r), "noting")
	}
	got := s.runs("a")
	if len(got) != 1 {
		s.Fatalf("the runs are %+v", got)
	}
	got[0].Seq = 0
	s.same("the run", got[0], r)
	e := s.get("a")
	s.same("the last job", e.LastJob, r.JobID)
	s.same("the time of the last job", e.LastAt, r.At)
	s.same("the next slot", e.NextAt, r.At)

	second := r
	second.JobID = job.NewID()
	s.ok(s.store.Note(s.ctx, second), "noting another one of the same time")
	s.same("the number of runs", len(s.runs("a")), 2)
	s.ok(s.store.Note(s.ctx, schedule.Run{Name: "missing", At: r.At, Outcome: schedule.RunFired, JobID: job.NewID()}), "noting for none")
	s.same("the number of runs", len(s.runs("missing")), 0)
}

func pagesThroughRuns(s *suite) {
	s.put(s.entry("a"))
	s.put(s.entry("b"))
	var want []time.Time
	for range 5 {
		want = append([]time.Time{s.fire("a").Last}, want...)
		s.fire("b")
		s.clock.Advance(time.Minute)
	}
	var got []time.Time
	before := int64(0)
	for {
		page, err := s.store.Runs(s.ctx, "a", before, 2)
		s.ok(err, "listing runs")
		for _, r := range page {
			if before != 0 && r.Seq >= before {
				s.Errorf("run %d follows %d", r.Seq, before)
			}
			before = r.Seq
			got = append(got, r.Slot)
		}
		if len(page) < 2 {
			break
		}
	}
	s.same("the slots", got, want)
	for _, r := range s.runs("a") {
		s.same("the state of a run's job", r.JobState, job.Waiting)
	}
}

func tellsTheLatestRuns(s *suite) {
	s.put(s.entry("a"))
	s.put(s.entry("b"))
	s.put(s.entry("never"))
	s.fire("a")
	s.fire("b")
	s.clock.Advance(time.Minute)
	s.fire("a")
	byHand := schedule.Run{Name: "b", At: s.clock.Now(), Outcome: schedule.RunFired, JobID: job.NewID(), Actor: "ann"}
	s.ok(s.store.Note(s.ctx, byHand), "noting")
	got, err := s.store.Latest(s.ctx)
	s.ok(err, "listing the latest runs")
	want := map[string]schedule.Run{"a": s.runs("a")[0], "b": s.runs("b")[0]}
	s.same("the latest runs", got, want)
	s.same("the job of the last one by hand", got["b"].JobID, byHand.JobID)
	s.same("the state of a job that there is not", got["b"].JobState, job.State(""))
}

func purgesRuns(s *suite) {
	s.put(s.entry("a"))
	for range 5 {
		s.fire("a")
		s.clock.Advance(time.Minute)
	}
	purge := func(keep time.Duration, want int) {
		s.Helper()
		n, err := s.store.PurgeRuns(s.ctx, keep, 2)
		s.ok(err, "purging")
		s.same("the number of purged runs", n, want)
	}
	purge(time.Hour, 0)
	purge(150*time.Second, 2) // three of them are older
	purge(150*time.Second, 1)
	purge(150*time.Second, 0)
	s.same("the number of runs", len(s.runs("a")), 2)
	s.same("the number of jobs", len(s.allJobs()), 5)
}
