package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// TestPlan has a schedule of each minute, or another, looked at late.
func TestPlan(t *testing.T) {
	first := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	const minute = time.Minute
	for _, test := range []struct {
		name    string
		def     Definition
		late    time.Duration // behind the first slot
		busy    bool
		refused bool
		want    string // outcome and minute of each run
		next    int
	}{
		{"on time", Definition{Missed: MissedSkip}, 0, false, false, "fired 0", 1},
		{"a little late", Definition{Missed: MissedSkip}, 59 * time.Second, false, false, "fired 0", 1},
		{"skip, five missed", Definition{Missed: MissedSkip}, 5*minute + 2*time.Second, false, false, "missed 4, fired 5", 6},
		{"skip, all missed", Definition{Missed: MissedSkip, Cron: "0 * * * *"}, 5 * minute, false, false, "missed 0", 60},
		{"once, five missed", Definition{Missed: MissedOnce}, 5*minute + 2*time.Second, false, false, "fired 5", 6},
		{"once, long ago", Definition{Missed: MissedOnce, Cron: "0 * * * *"}, 59 * minute, false, false, "fired 0", 60},
		{"all", Definition{Missed: MissedAll, MissedLimit: 10}, 3 * minute, false, false, "fired 0, fired 1, fired 2, fired 3", 4},
		{"all, at the bound", Definition{Missed: MissedAll, MissedLimit: 4}, 3 * minute, false, false, "fired 0, fired 1, fired 2, fired 3", 4},
		{"all, above the bound", Definition{Missed: MissedAll, MissedLimit: 2}, 3 * minute, false, false, "missed 1, fired 2, fired 3", 4},
		{"a year missed", Definition{Missed: MissedAll, MissedLimit: 2}, 365 * 24 * 60 * minute, false, false, "missed 525598, fired 525599, fired 525600", 525601},
		{"overlapping", Definition{Missed: MissedOnce, Overlap: OverlapSkip}, 0, true, false, "overlap 0", 1},
		{"overlapping, allowed", Definition{Missed: MissedOnce, Overlap: OverlapAllow}, 0, true, false, "fired 0", 1},
		{"overlapping itself", Definition{Missed: MissedAll, MissedLimit: 9, Overlap: OverlapSkip}, 2 * minute, false, false, "fired 0, overlap 1, overlap 2", 3},
		{"no job can be made", Definition{Missed: MissedOnce}, 0, false, true, "refused 0", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := Entry{Definition: test.def, NextAt: first, CreatedAt: first.Add(-time.Hour)}
			e.Name, e.Type = "probe", "noop"
			if e.Cron == "" {
				e.Cron = "* * * * *"
			}
			now := first.Add(test.late)
			f := e.plan(now, test.busy, func() (job.New, error) {
				if test.refused {
					return job.New{}, errors.New("no such type")
				}
				return job.New{ID: job.NewID(), Type: e.Type}, nil
			})
			var got []string
			fired := 0
			for _, r := range f.Runs {
				got = append(got, fmt.Sprintf("%s %d", r.Outcome, int(r.Slot.Sub(first)/minute)))
				if r.Outcome == RunFired {
					if f.Jobs[fired].ID != r.JobID {
						t.Errorf("run %v has another's job", r)
					}
					fired++
				} else if r.Reason == "" || r.JobID != "" {
					t.Errorf("run %+v", r)
				}
				if r.Name != "probe" || !r.At.Equal(now) {
					t.Errorf("run %+v", r)
				}
			}
			if strings.Join(got, ", ") != test.want || fired != len(f.Jobs) {
				t.Errorf("the runs are %q with %d jobs, want %q", got, len(f.Jobs), test.want)
			}
			if next := int(f.Next.Sub(first) / minute); next != test.next {
				t.Errorf("the next slot is %d, want %d", next, test.next)
			}
		})
	}
}

// TestPlanOfABrokenEntry stops with a line in the history.
func TestPlanOfABrokenEntry(t *testing.T) {
	e := Entry{Definition: Definition{Name: "x", Cron: "* * * * *", TimeZone: "Mars/Base"}, NextAt: time.Now()}
	f := e.plan(time.Now(), false, nil)
	if len(f.Runs) != 1 || f.Runs[0].Outcome != RunRefused || !strings.Contains(f.Runs[0].Reason, "Mars/Base") || !f.Next.IsZero() {
		t.Errorf("it comes to %+v", f)
	}
}

func TestMissedWordsNameTheSlots(t *testing.T) {
	e := Entry{Definition: Definition{Cron: "0 * * * *", Missed: MissedSkip}, NextAt: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}
	f := e.plan(e.NextAt.Add(5*time.Hour+10*time.Minute), false, nil)
	if want := "from 2026-07-01T00:00:00Z to 2026-07-01T05:00:00Z"; len(f.Runs) != 1 || !strings.Contains(f.Runs[0].Reason, want) {
		t.Errorf("it comes to %+v", f.Runs)
	}
}

func TestNextSlots(t *testing.T) {
	at := time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC)
	e := Entry{Definition: Definition{Cron: "0 8 * * *"}, NextAt: at}
	want := []time.Time{at, at.AddDate(0, 0, 1), at.AddDate(0, 0, 2)}
	if got := e.NextSlots(3); !slices.Equal(got, want) {
		t.Errorf("the next slots are %v", got)
	}
	e.Paused = true
	if got := e.NextSlots(3); got != nil {
		t.Errorf("paused, they are %v", got)
	}
}
