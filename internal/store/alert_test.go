package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/store"
)

func onAlerts(t *testing.T, f func(t *testing.T, s *store.Store, clock jobtest.Clock)) {
	onEach(t, func(t *testing.T, url string) {
		clock := jobtest.NewClock()
		f(t, open(t, url, store.Options{Clock: clock.Now}), clock)
	})
}

func TestAlertsAreKept(t *testing.T) {
	onAlerts(t, func(t *testing.T, s *store.Store, clock jobtest.Clock) {
		v := s.Alerts()
		now := clock.Now().UTC().Truncate(time.Millisecond)
		of := func(subject string, fired time.Time) alert.Alert {
			return alert.Alert{Finding: alert.Finding{Rule: alert.QueueAge, Subject: subject, Summary: "old"}, Since: now, FiredAt: fired, NoticedAt: fired}
		}
		pending, younger, older := of("a", time.Time{}), of("b", now), of("c", now.Add(-time.Hour))
		change := func(c alert.Change) {
			t.Helper()
			if err := v.Change(t.Context(), func(at time.Time, all []alert.Alert) alert.Change {
				if !at.Equal(now) {
					t.Errorf("it is %s, want %s", at, now)
				}
				return c
			}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(all ...alert.Alert) {
			t.Helper()
			got, err := v.Alerts(t.Context())
			if err != nil || !slices.Equal(got, all) {
				t.Errorf("kept are\n%+v, %v, want\n%+v", got, err, all)
			}
		}
		change(alert.Change{Save: []alert.Alert{pending, younger, older}})
		want(older, younger, pending)
		younger.ClearAt, younger.Summary = now, "recovering"
		change(alert.Change{Save: []alert.Alert{younger}, Drop: []alert.Alert{pending, of("unknown", now)}})
		want(older, younger)
	})
}

func TestNoticesAreClaimed(t *testing.T) {
	onAlerts(t, func(t *testing.T, s *store.Store, clock jobtest.Clock) {
		v := s.Alerts()
		now := clock.Now().UTC().Truncate(time.Millisecond)
		var all []alert.Notice
		for i := range 2 {
			for _, target := range []string{"slack", "webhook"} {
				all = append(all, alert.Notice{
					ID: string(job.NewID()), Target: target, Kind: alert.Fired, At: now, Since: now.Add(-time.Minute),
					Finding: alert.Finding{Rule: alert.QueueAge, Subject: fmt.Sprint("q", i), Summary: "old"},
				})
			}
		}
		if err := v.Change(t.Context(), func(time.Time, []alert.Alert) alert.Change { return alert.Change{Notices: all} }); err != nil {
			t.Fatal(err)
		}
		claim := func(want ...string) (ids []string) {
			t.Helper()
			got, err := v.Claim(t.Context(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			for _, n := range got {
				told, ids = append(told, fmt.Sprintf("%s %s %d", n.Target, n.Subject, n.Attempts)), append(ids, n.ID)
			}
			if !slices.Equal(told, want) {
				t.Errorf("claimed are %q, want %q", told, want)
			}
			return ids
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		ids := claim("slack q0 1", "webhook q0 1")
		claim() // they are taken, and the others wait for them
		must(v.Delivered(t.Context(), ids[0]))
		must(v.Postpone(t.Context(), ids[1], 10*time.Second))
		ids = claim("slack q1 1")
		must(v.Delivered(t.Context(), ids[0]))
		clock.Advance(10 * time.Second)
		claim("webhook q0 2")
		clock.Advance(time.Minute) // in which who claimed it ended
		ids = claim("webhook q0 3")
		must(v.Delivered(t.Context(), ids[0]))
		must(v.Delivered(t.Context(), ids[0]))
		claim("webhook q1 1")
		// A change that cannot be written leaves nothing behind.
		err := v.Change(t.Context(), func(time.Time, []alert.Alert) alert.Change {
			return alert.Change{Save: []alert.Alert{{Finding: alert.Finding{Rule: alert.Redis}, Since: now}}, Notices: []alert.Notice{all[3]}}
		})
		if kept, _ := v.Alerts(t.Context()); err == nil || len(kept) != 0 {
			t.Errorf("an id that is there twice: %v, kept is %+v", err, kept)
		}
	})
}

func TestWhatAlertsLookAt(t *testing.T) {
	onAlerts(t, func(t *testing.T, s *store.Store, clock jobtest.Clock) {
		v := s.Alerts()
		outages := func(want ...string) {
			t.Helper()
			if got, err := v.Outages(t.Context(), 20*time.Second); err != nil || !slices.Equal(got, want) {
				t.Errorf("providers down are %q, %v, want %q", got, err, want)
			}
		}
		report := func(process string, providers ...string) {
			t.Helper()
			if err := v.ReportOutages(t.Context(), process, providers); err != nil {
				t.Fatal(err)
			}
		}
		outages()
		report("one", "ses", "own")
		report("two", "ses")
		outages("own", "ses")
		report("one", "own")
		report("two")
		outages("own")
		clock.Advance(21 * time.Second) // one was killed
		outages()

		clockNow := clock.Now()
		missed := func(want int) {
			t.Helper()
			if n, err := v.MissedSlots(t.Context(), 15*time.Minute); err != nil || n != want {
				t.Errorf("missed are %d, %v, want %d", n, err, want)
			}
		}
		_, err := s.Schedules().Change(t.Context(), "nightly", func(*schedule.Entry, time.Time) (*schedule.Entry, error) {
			return &schedule.Entry{Definition: schedule.Definition{
				Name: "nightly", Type: "noop", Payload: []byte(`{}`), Queue: "default", Cron: "@daily", TimeZone: "UTC", Missed: schedule.MissedSkip, Overlap: schedule.OverlapSkip,
			}, Source: schedule.FromAPI, CreatedAt: clockNow, UpdatedAt: clockNow}, nil
		})
		for i, outcome := range []schedule.RunOutcome{schedule.RunFired, schedule.RunMissed, schedule.RunRefused, schedule.RunOverlap} {
			r := schedule.Run{Name: "nightly", Slot: clockNow.Add(-time.Duration(i) * time.Hour), At: clockNow, Outcome: outcome}
			err = errors.Join(err, s.Schedules().Note(t.Context(), r))
		}
		if err != nil {
			t.Fatal(err)
		}
		missed(2)
		clock.Advance(16 * time.Minute)
		missed(0)
	})
}
