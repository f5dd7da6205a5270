package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/testkit"
)

// TestTwoSchedulersForAnHour has two of them look at the timetable every few
// seconds, side by side: each slot makes one job.
func TestTwoSchedulersForAnHour(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			r := newRig(t, db.url(t))
			for i, cron := range []string{"* * * * *", "*/7 * * * *", "@every 50s", "@hourly"} {
				r.create(each(fmt.Sprintf("s%d", i), func(c *schedule.Change) { c.Cron = cron }))
			}
			schedulers := []*schedule.Service{r.Service, r.another()}
			const step = 5 * time.Second
			for range time.Hour / step {
				r.clock.Advance(step)
				var wait sync.WaitGroup
				for _, s := range schedulers {
					wait.Go(func() {
						if err := s.Turn(t.Context()); err != nil {
							t.Error(err)
						}
					})
				}
				wait.Wait()
			}
			want := 0
			for i, n := range []int{60, 9, 72, 1} {
				name := fmt.Sprintf("s%d", i)
				runs := r.history(name)
				want += n
				if len(runs) != n {
					t.Errorf("%s has %d runs, want %d", name, len(runs), n)
				}
				for _, run := range runs {
					if run.Outcome != schedule.RunFired || run.At.Sub(run.Slot) >= step {
						t.Errorf("%s: %+v", name, run)
					}
				}
			}
			if jobs := r.allJobs(); len(jobs) != want {
				t.Errorf("there are %d jobs, want %d", len(jobs), want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if sent, err := r.disp.WaitSent(ctx, want); err != nil || len(sent) != want {
				t.Errorf("%d tasks were sent, want %d (%v)", len(sent), want, err)
			}
		})
	}
}

// TestDown has no scheduler running for five minutes.
func TestDown(t *testing.T) {
	const fired, missed = schedule.RunFired, schedule.RunMissed
	for _, test := range []struct {
		missed schedule.Missed
		limit  int
		want   []schedule.RunOutcome // after the first on time, until the next one on time
	}{
		{schedule.MissedSkip, 0, []schedule.RunOutcome{fired, missed, fired, fired}}, // the newest slot is 10 s old
		{schedule.MissedOnce, 0, []schedule.RunOutcome{fired, fired, fired}},
		{schedule.MissedAll, 10, []schedule.RunOutcome{fired, fired, fired, fired, fired, fired, fired}},
		{schedule.MissedAll, 2, []schedule.RunOutcome{fired, missed, fired, fired, fired}},
	} {
		t.Run(fmt.Sprintf("%s %d", test.missed, test.limit), func(t *testing.T) {
			r := newRig(t, lite(t))
			r.create(each("s", func(c *schedule.Change) { c.Missed, c.MissedLimit = test.missed, test.limit }))
			r.after(time.Minute)
			r.after(5*time.Minute + 10*time.Second)
			r.after(50 * time.Second)
			if got := r.outcomes("s"); !slices.Equal(got, test.want) {
				t.Errorf("the outcomes are %v, want %v", got, test.want)
			}
			n := 0
			for _, o := range test.want {
				if o == fired {
					n++
				}
			}
			if jobs := r.allJobs(); len(jobs) != n {
				t.Errorf("there are %d jobs, want %d", len(jobs), n)
			}
			if e := r.get("s"); !e.NextAt.Equal(r.clock.Now().Add(time.Minute)) || !e.LastSlot.Equal(r.clock.Now()) {
				t.Errorf("it goes on with %+v", e)
			}
		})
	}
}

// TestRedisAway holds that a slot makes its job all the same: the task follows
// when Redis is back.
func TestRedisAway(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("s"))
	r.disp.Fail(errAway)
	r.after(time.Minute)
	if jobs := r.allJobs(); len(jobs) != 1 || jobs[0].State != job.Waiting || jobs[0].AcceptedBy != "schedule:s" {
		t.Fatalf("the jobs are %+v", jobs)
	}
	testkit.WaitFor(t, patience, "the dispatch has failed", func() bool { return r.log.Count("dispatching fails") == 1 })
	r.disp.Fail(nil)
	r.clock.Advance(10 * time.Second)
	rec := job.NewReconciler(r.jobs, "test", job.Retention{Done: time.Hour, Bodies: time.Hour, Failed: time.Hour})
	r.ok(rec.Turn(t.Context()))
	if sent := r.disp.Sent(); len(sent) != 1 || sent[0].ID != r.allJobs()[0].ID {
		t.Errorf("the tasks are %v", sent)
	}
}

// TestOverlap has a schedule whose job of before is not over.
func TestOverlap(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("s", func(c *schedule.Change) { c.Overlap = schedule.OverlapSkip }))
	r.after(time.Minute)
	r.after(time.Minute)
	id := r.get("s").LastJob
	if _, err := r.jobs.Cancel(t.Context(), id, "ann"); err != nil {
		t.Fatal(err)
	}
	r.after(time.Minute)
	want := []schedule.RunOutcome{schedule.RunFired, schedule.RunOverlap, schedule.RunFired}
	if got := r.outcomes("s"); !slices.Equal(got, want) {
		t.Errorf("the outcomes are %v, want %v", got, want)
	}
}

// TestClockChanges goes through both nights of a zone that has them.
func TestClockChanges(t *testing.T) {
	for _, test := range []struct {
		name  string
		begin time.Time
		want  string // of the schedule at 02:30, in UTC
	}{
		{"spring", time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), "01:00"},
		{"autumn", time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC), "00:30"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, lite(t))
			r.clock.Set(test.begin)
			berlin := func(c *schedule.Change) { c.TimeZone = "Europe/Berlin" }
			r.create(each("daily", berlin, func(c *schedule.Change) { c.Cron = "30 2 * * *" }))
			r.create(each("steady", berlin, func(c *schedule.Change) { c.Cron = "*/5 * * * *" }))
			for range 24 { // two hours
				r.after(5 * time.Minute)
			}
			runs := r.history("daily")
			if len(runs) != 1 || runs[0].Slot.Format("15:04") != test.want || runs[0].Outcome != schedule.RunFired {
				t.Errorf("the runs at 02:30 are %+v", runs)
			}
			if n := len(r.history("steady")); n != 24 {
				t.Errorf("the one of every five minutes has %d runs, want 24", n)
			}
		})
	}
}

// TestChangesTakeEffect holds that a scheduler sees at its next look, a second
// later, what another process has changed.
func TestChangesTakeEffect(t *testing.T) {
	r := newRig(t, lite(t))
	scheduler := r.another()
	look := func(want int) {
		t.Helper()
		r.clock.Advance(time.Second)
		r.ok(scheduler.Turn(t.Context()))
		if n := len(r.allJobs()); n != want {
			t.Fatalf("there are %d jobs, want %d", n, want)
		}
	}
	ctx := t.Context()
	second := each("s", func(c *schedule.Change) { c.Cron = "@every 1s" })
	r.create(second)
	look(1)
	_, err := r.Pause(ctx, "s", "ann")
	r.ok(err)
	look(1)
	r.clock.Advance(time.Hour)
	_, err = r.Resume(ctx, "s", "ann")
	r.ok(err)
	look(2) // the pause's slots were not missed
	second.Cron = "@daily"
	_, err = r.Replace(ctx, second, "ann")
	r.ok(err)
	look(2)
	second.Cron = "@every 1s"
	_, err = r.Replace(ctx, second, "ann")
	r.ok(err)
	look(3)
	r.ok(r.Delete(ctx, "s", "ann"))
	look(3)
}

// TestStarted lets a scheduler run by itself.
func TestStarted(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("s"))
	r.clock.Advance(time.Minute)
	r.Start()
	defer r.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := r.disp.WaitSent(ctx, 1); err != nil {
		t.Fatal("it does not look at the beginning")
	}
	r.clock.Advance(time.Minute)
	if _, err := r.disp.WaitSent(ctx, 2); err != nil {
		t.Fatal("it does not look each second")
	}
	r.Stop()
	r.clock.Advance(time.Minute)
	r.Nudge()
	r.Stop()
	if n := len(r.allJobs()); n != 2 {
		t.Errorf("there are %d jobs after it was stopped", n)
	}
}

// TestStartAndStopAtOnce races the two.
func TestStartAndStopAtOnce(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("s", func(c *schedule.Change) { c.Cron = "@every 1s" }))
	for range 20 {
		s := r.another()
		s.Start()
		r.clock.Advance(time.Second)
		s.Nudge()
		s.Stop()
	}
	if jobs, runs := len(r.allJobs()), r.history("s"); jobs > 20 || len(runs) < jobs {
		t.Errorf("%d jobs of %d runs", jobs, len(runs))
	}
}

// TestUnknownCommit loses the database's answer to each command once: it is
// repeated, and is not taken for another one's doing.
func TestUnknownCommit(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			r := newRig(t, db.url(t))
			ctx := t.Context()
			lost := true
			r.fail(func(point string) error {
				if point == "committed" && !lost {
					lost = true
					return context.DeadlineExceeded
				}
				return nil
			})
			once := func(do func() error) {
				t.Helper()
				lost = false
				r.ok(do())
				if !lost {
					t.Error("no answer was lost")
				}
			}
			once(func() error { _, err := r.Create(ctx, each("s"), "ann"); return err })
			r.clock.Advance(time.Minute)
			once(func() error { return r.Turn(ctx) })
			if n := len(r.allJobs()); n != 1 {
				t.Errorf("there are %d jobs", n)
			}
			once(func() error { _, err := r.RunNow(ctx, "s", job.Caller{Name: "ann"}); return err })
			if n := len(r.history("s")); n != 2 {
				t.Errorf("there are %d runs", n)
			}
			once(func() error { _, err := r.Pause(ctx, "s", "ann"); return err })
			once(func() error { _, err := r.Resume(ctx, "s", "ann"); return err })
			once(func() error { _, err := r.Replace(ctx, each("s"), "ann"); return err })
			once(func() error { return r.Delete(ctx, "s", "ann") })
		})
	}
}

// TestPoison has the database refuse one schedule's job: the others go on, and
// so does it.
func TestPoison(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("s"))
	r.create(each("t"))
	refused := 0
	r.fail(func(point string) error {
		if point == "commit" && refused == 0 {
			refused++
			return errors.New("constraint violated")
		}
		return nil
	})
	r.after(time.Minute)
	r.after(time.Minute)
	want := []schedule.RunOutcome{schedule.RunRefused, schedule.RunFired}
	if got := r.outcomes("s"); !slices.Equal(got, want) {
		t.Errorf("the outcomes are %v, want %v", got, want)
	}
	if got := r.outcomes("t"); !slices.Equal(got, []schedule.RunOutcome{schedule.RunFired, schedule.RunFired}) {
		t.Errorf("the other's outcomes are %v", got)
	}
}

// TestDatabaseAway keeps the slot for when it is back.
func TestDatabaseAway(t *testing.T) {
	r := newRig(t, lite(t))
	r.create(each("s"))
	r.clock.Advance(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	r.fail(func(string) error { cancel(); return context.DeadlineExceeded })
	r.wantCode(r.Turn(ctx), job.CodeTemporary)
	r.fault.Store(nil)
	r.after(0)
	if got := r.outcomes("s"); !slices.Equal(got, []schedule.RunOutcome{schedule.RunFired}) {
		t.Errorf("the outcomes are %v", got)
	}
}

// TestRacingCommands pauses or deletes while the slot is being seen to: the
// history and the jobs agree.
func TestRacingCommands(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			r := newRig(t, db.url(t))
			ctx := t.Context()
			total := 0
			for i := range 20 {
				name := fmt.Sprintf("s%d", i)
				r.create(each(name))
				r.clock.Advance(time.Minute)
				var wait sync.WaitGroup
				wait.Go(func() { _ = r.Turn(ctx) })
				wait.Go(func() { _ = r.another().Turn(ctx) })
				wait.Go(func() {
					if i%2 == 0 {
						_, _ = r.Pause(ctx, name, "ann")
					} else {
						_ = r.Delete(ctx, name, "ann")
					}
				})
				wait.Wait()
				runs := r.history(name)
				if len(runs) > 1 {
					t.Errorf("%s has the runs %+v", name, runs)
				}
				total += len(runs)
				r.clock.Advance(time.Minute)
				r.ok(r.Turn(ctx))
				if n := len(r.history(name)); n != len(runs) {
					t.Errorf("%s ran once more after it was paused or deleted", name)
				}
			}
			if n := len(r.allJobs()); n != total {
				t.Errorf("there are %d jobs of %d runs", n, total)
			}
		})
	}
}
