package chaos

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// schedule is one that runs all the time. Slots that no scheduler is there for
// are made up for one by one, so that each slot must make one job.
type schedule struct {
	name, kind string
	every      time.Duration
	payload    string // JSON
}

func (s schedule) cron() string { return "@every " + s.every.String() }

var (
	fromFile = []schedule{
		{"chaos-file", "notification:send", 2 * time.Second, `{"room":"chaos","message":"tick"}`},
	}
	overAPI = []schedule{
		{"chaos-api", "noop", time.Second, `{"sleep_ms":20}`},
		{"chaos-mail", "email:send", 3 * time.Second, `{"to":["clock@example.com"],"subject":"tick","text":"tock"}`},
	}
)

// timetable knows the slots that must have come.
type timetable struct {
	anchors map[schedule]time.Time // their creation, from which @every counts
	cutoff  time.Time
}

// newTimetable creates the schedules that come over the API.
func newTimetable(t testing.TB, api string, db *sql.DB) timetable {
	t.Helper()
	for _, s := range overAPI {
		body, err := json.Marshal(map[string]any{
			"name": s.name, "type": s.kind, "cron": s.cron(), "missed": "all", "missed_limit": 100,
			"payload": json.RawMessage(s.payload),
		})
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Post("http://"+api+"/schedules", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatalf("creating a schedule: %v", err)
		}
		answer, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK {
			t.Fatalf("creating a schedule: %s: %s", res.Status, answer)
		}
	}
	out := timetable{anchors: map[schedule]time.Time{}}
	for _, s := range append(fromFile[:len(fromFile):len(fromFile)], overAPI...) {
		var ms int64
		testkit.WaitFor(t, patience, "the schedule "+s.name, func() bool {
			return db.QueryRow(`SELECT created_at FROM schedules WHERE name = $1`, s.name).Scan(&ms) == nil
		})
		out.anchors[s] = time.UnixMilli(ms)
	}
	return out
}

// slots counts, for all schedules together, the slots until the cutoff, those
// of them that did not come to a job that is done, and the jobs beyond one a
// slot.
func (h *harness) slots() (due, missed, doubled int) {
	for s, anchor := range h.table.anchors {
		done := map[int64]int{} // by slot in milliseconds
		h.query(`SELECT r.slot, count(*) FILTER (WHERE j.state = 'done')
			FROM schedule_runs r LEFT JOIN jobs j ON j.id = r.job_id
			WHERE r.name = $1 AND r.slot IS NOT NULL GROUP BY r.slot`,
			func(scan func(...any) error) error {
				var slot int64
				var n int
				err := scan(&slot, &n)
				done[slot] = n
				return err
			}, s.name)
		for slot := anchor.Add(s.every); !slot.After(h.table.cutoff); slot = slot.Add(s.every) {
			due++
			if done[slot.UnixMilli()] == 0 {
				missed++
				h.tell("the slot %s of %s came to nothing", slot.Format(time.TimeOnly), s.name)
			}
		}
		// Not from the timetable's own history: whatever job bears its name.
		jobs := h.count(`SELECT count(*) FROM jobs WHERE accepted_by = $1`, "schedule:"+s.name)
		if extra := jobs - len(done); extra > 0 {
			doubled += extra
			h.tell("%s has %d jobs for %d slots", s.name, jobs, len(done))
		}
	}
	return due, missed, doubled
}

// unfinishedSlots counts the jobs of slots until the cutoff that are not over.
func (h *harness) unfinishedSlots() int {
	return h.count(fmt.Sprintf(`SELECT count(*) FROM schedule_runs r JOIN jobs j ON j.id = r.job_id
		WHERE r.slot <= %d AND j.state IN ('waiting', 'running')`, h.table.cutoff.UnixMilli()))
}
