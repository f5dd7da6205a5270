package store_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

// What happens to jobs is counted by the second, and how long they waited and ran
// is told of those whose runs have ended.
func TestTally(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		t.Parallel()
		clock := jobtest.NewClock()
		s := open(t, url, store.Options{Clock: clock.Now, RepeatFor: slowRepeatFor})
		clock.Advance(clock.Now().Truncate(time.Second).Add(time.Second).Sub(clock.Now())) // to a second's beginning
		first := numbers.Second(clock.Now().Unix())
		ids := []job.ID{accepted(t, s), accepted(t, s), accepted(t, s), accepted(t, s)}
		before, _, err := s.EventsEnd(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		clock.Advance(1500 * time.Millisecond)
		for i, o := range []job.Outcome{
			job.Succeeded("250 Ok"), job.PermanentFailure("550 no"), {Kind: job.OutcomeTemporary, Message: "451 later", After: time.Hour},
		} {
			got, err := s.Claim(t.Context(), job.Claim{ID: ids[i], Token: string(job.NewID()), Worker: "w", Lease: time.Minute})
			if err != nil || got.Verdict != job.Granted {
				t.Fatalf("claiming: %v, %v", got.Verdict, err)
			}
			clock.Advance(10 * time.Millisecond)
			if _, err := s.Settle(t.Context(), job.Plan(&got.Job, tasks.DefaultBackoff, o)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Change(t.Context(), ids[3:], func(j *job.Job, now time.Time) ([]job.Event, error) {
			j.State, j.UpdatedAt, j.FinishedAt = job.Cancelled, now, now
			return []job.Event{{Job: j.ID, At: now, Kind: job.EventCancelled, State: j.State}}, nil
		}); err != nil {
			t.Fatal(err)
		}

		got, err := s.Tally(t.Context(), 0, first, first+2)
		if err != nil {
			t.Fatal(err)
		}
		want := map[numbers.Second]*numbers.Rates{
			first:     {Accepted: 4},
			first + 1: {Started: 3, Done: 1, Failed: 1, Retried: 1, Dropped: 1},
		}
		if !reflect.DeepEqual(got.Seconds, want) {
			t.Errorf("counted %+v and %+v", got.Seconds[first], got.Seconds[first+1])
		}
		if end, _, err := s.EventsEnd(t.Context()); err != nil || got.End != end || !got.Now.Equal(clock.Now()) {
			t.Errorf("the log's end is %d at %s, want %d at %s (%v)", got.End, got.Now, end, clock.Now(), err)
		}
		runs := []numbers.Run{ // the last that ended first
			{At: first + 1, Wait: -time.Millisecond, Took: 10 * time.Millisecond}, // it is due in an hour by now
			{At: first + 1, Wait: 1510 * time.Millisecond, Took: 10 * time.Millisecond},
			{At: first + 1, Wait: 1500 * time.Millisecond, Took: 10 * time.Millisecond},
		}
		if !reflect.DeepEqual(got.Runs, runs) {
			t.Errorf("the runs are %+v", got.Runs)
		}

		if got, err = s.Tally(t.Context(), before, first, first+1); err != nil || len(got.Seconds) != 0 || len(got.Runs) != 0 {
			t.Errorf("behind the number %d and before the second there are %+v (%v)", before, got, err)
		}
	})
}
