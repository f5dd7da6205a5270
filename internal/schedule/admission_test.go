package schedule_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/tasks"
)

// A slot whose job admission could not decide about stays due; one that it
// refuses is over.
func TestAdmissionOfASlot(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("probe"))
	away := func(*job.Candidate) error { return job.Errorf(job.CodeTemporary, "the database is away") }
	r.admit.Store(&away)
	r.clock.Advance(time.Minute)
	if err := r.Turn(t.Context()); job.CodeOf(err) != job.CodeTemporary {
		t.Fatalf("a round without admission: %v", err)
	}
	if runs := r.history("probe"); len(runs) != 0 {
		t.Fatalf("the slot was seen to: %+v", runs)
	}
	no := func(c *job.Candidate) error {
		c.Err = tasks.Invalid{{Field: "template", Problem: "is gone"}}
		return nil
	}
	r.admit.Store(&no)
	r.after(0)
	r.admit.Store(nil)
	r.after(time.Minute)
	want := []schedule.RunOutcome{schedule.RunRefused, schedule.RunFired}
	if got := r.outcomes("probe"); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("the outcomes are %v, want %v", got, want)
	}
}

// A schedule that is changed between its job's admission and its slot's
// transaction fires as it is then, not as it was.
func TestChangedDuringAdmission(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("probe"))
	changed := false
	change := func(*job.Candidate) error {
		if changed {
			return nil
		}
		changed = true
		_, err := r.Replace(t.Context(), each("probe", func(c *schedule.Change) { c.Queue = "maintenance" }), "ann")
		return err
	}
	r.clock.Advance(time.Minute)
	r.admit.Store(&change)
	r.after(0)
	r.after(0)
	jobs := r.allJobs()
	if len(jobs) != 1 || jobs[0].Queue != "maintenance" {
		t.Errorf("the jobs are %+v", jobs)
	}
	if !changed {
		t.Error("admission was not asked")
	}
}
