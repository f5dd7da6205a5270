package schedule_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestCreateIsInNormalForm(t *testing.T) {
	r := newRig(t, lite(t))
	e := r.create(schedule.Change{Definition: schedule.Definition{Name: "s", Type: "log:heartbeat", Payload: []byte(` { "message" : "<hi>" } `), Cron: " 0   8 * * *"}})
	if string(e.Payload) != `{"message":"<hi>"}` || e.Cron != "0 8 * * *" || e.TimeZone != "UTC" || e.Missed != schedule.MissedOnce || e.MissedLimit != 10 || e.Overlap != schedule.OverlapAllow {
		t.Errorf("it is %+v", e)
	}
	if want := time.Date(2026, 7, 2, 8, 0, 0, 0, time.UTC); !e.NextAt.Equal(want) {
		t.Errorf("it begins at %v", e.NextAt)
	}
	_, err := r.Create(t.Context(), each("s"), "ann")
	r.wantCode(err, job.CodeConflict)
	_, err = r.Create(t.Context(), schedule.Change{}, "ann")
	r.wantCode(err, job.CodeInvalid)
}

// TestReplaceKeepsADueSlot holds that an edit which leaves the times alone does
// not lose a slot, and one of the times begins anew.
func TestReplaceKeepsADueSlot(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("s"))
	r.clock.Advance(time.Minute)
	c := each("s", func(c *schedule.Change) { c.Payload = []byte(`{"pad":"x"}`) })
	e, err := r.Replace(t.Context(), c, "ann")
	r.ok(err)
	if !e.NextAt.Equal(r.clock.Now()) {
		t.Errorf("the next slot is %v", e.NextAt)
	}
	r.after(0)
	if jobs := r.allJobs(); len(jobs) != 1 {
		t.Errorf("there are %d jobs", len(jobs))
	}
	r.clock.Advance(time.Minute)
	c.Cron = "*/10 * * * *"
	e, err = r.Replace(t.Context(), c, "ann")
	r.ok(err)
	if want := time.Date(2026, 7, 1, 12, 10, 0, 0, time.UTC); !e.NextAt.Equal(want) {
		t.Errorf("the next slot is %v", e.NextAt)
	}
}

// TestReplaceTakesTurns holds that of callers who put the same schedule at the
// same moment none is refused, whether it is there before or not.
func TestReplaceTakesTurns(t *testing.T) {
	for _, there := range []bool{false, true} {
		r := newRig(t, lite(t))
		if there {
			r.create(each("s"))
		}
		errs := make([]error, 20)
		var callers sync.WaitGroup
		for i := range errs {
			callers.Go(func() { _, errs[i] = r.Replace(t.Context(), each("s"), "ann") })
		}
		callers.Wait()
		r.ok(errors.Join(errs...))
		if e := r.get("s"); e.Cron != each("s").Cron {
			t.Errorf("it is %+v", e)
		}
	}
}

// fieldsOf is what a tasks.Invalid says, by field.
func fieldsOf(err error) map[string]string {
	out := map[string]string{}
	var bad tasks.Invalid
	if errors.As(err, &bad) {
		for _, f := range bad {
			out[f.Field] = f.Problem
		}
	}
	return out
}

// TestReplaceWhatWasSeen holds that of two who replace what they saw the later
// one is told, also when nobody knows whether the first was committed.
func TestReplaceWhatWasSeen(t *testing.T) {
	r := newRig(t, lite(t))
	first := r.create(each("s"))
	replace := func(seen time.Time, cron string) (schedule.Entry, error) {
		return r.Replace(t.Context(), each("s", func(c *schedule.Change) { c.Cron, c.Seen = cron, seen }), "ann")
	}
	failed := false
	r.fail(func(point string) error {
		if point == "committed" && !failed {
			failed = true
			return driver.ErrBadConn
		}
		return nil
	})
	second, err := replace(first.UpdatedAt, "@hourly")
	r.ok(err)
	if !failed || second.Cron != "@hourly" || !second.UpdatedAt.After(first.UpdatedAt) {
		t.Errorf("after a lost answer (%v) it is %+v", failed, second)
	}
	_, err = replace(first.UpdatedAt, "@daily")
	r.wantCode(err, job.CodeConflict)
	if !errors.Is(err, schedule.ErrChanged) || r.get("s").Cron != "@hourly" {
		t.Errorf("the later one is told %v, and it is %s", err, r.get("s").Cron)
	}
	paused, err := r.Pause(t.Context(), "s", "bob")
	r.ok(err)
	_, err = replace(second.UpdatedAt, "@daily")
	r.wantCode(err, job.CodeConflict)
	_, err = replace(paused.UpdatedAt, "@daily")
	r.ok(err)
	r.ok(r.Delete(t.Context(), "s", "bob"))
	_, err = replace(paused.UpdatedAt, "@daily")
	r.wantCode(err, job.CodeConflict)
	_, err = r.Get(t.Context(), "s")
	r.wantCode(err, job.CodeNotFound)
}

func TestRunNow(t *testing.T) {
	r := newRig(t, lite(t))
	ctx := t.Context()
	paused := true
	r.create(each("s", func(c *schedule.Change) { c.Paused = &paused }))
	got, err := r.RunNow(ctx, "s", job.Caller{Name: "ann"})
	r.ok(err)
	runs := r.history("s")
	if len(runs) != 1 || runs[0].JobID != got.Base || !runs[0].Slot.IsZero() || runs[0].Actor != "ann" || runs[0].Outcome != schedule.RunFired {
		t.Errorf("the history is %+v", runs)
	}
	if e := r.get("s"); e.LastJob != got.Base || !e.LastAt.Equal(got.At) || !e.NextAt.IsZero() || !e.LastSlot.IsZero() {
		t.Errorf("it is %+v", e)
	}
	_, err = r.RunNow(ctx, "missing", job.Caller{Name: "ann"})
	r.wantCode(err, job.CodeNotFound)
	_, err = r.Runs(ctx, "s", 0, 0)
	r.wantCode(err, job.CodeInvalid)
}

// crowded is a timetable that is full.
type crowded struct{ schedule.Store }

func (crowded) List(context.Context) ([]schedule.Entry, error) {
	return make([]schedule.Entry, schedule.MaxEntries), nil
}

func TestMostSchedules(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("s"))
	full := schedule.New(schedule.Options{
		Store: crowded{r.store.Schedules()}, Jobs: r.jobs, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	_, err := full.Create(t.Context(), each("more"), "ann")
	r.wantCode(err, job.CodeConflict)
	_, err = full.Replace(t.Context(), each("more"), "ann")
	r.wantCode(err, job.CodeConflict)
	_, err = full.Replace(t.Context(), each("s"), "ann")
	r.ok(err)
}
