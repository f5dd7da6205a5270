package store_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/schedule/scheduletest"
	"github.com/postrider/postrider/internal/store"
)

func TestScheduleConformance(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		scheduletest.Conformance(t, func(t *testing.T) (schedule.Store, job.Store, jobtest.Clock) {
			clock := jobtest.NewClock()
			s := open(t, url, store.Options{Clock: clock.Now})
			emptied(t, url)
			return s.Schedules(), s, clock
		})
	})
}

// emptied deletes what tests of the timetable leave behind.
func emptied(t *testing.T, url string) {
	t.Helper()
	driver, name := "pgx", url
	if path, lite := strings.CutPrefix(url, "sqlite:"); lite {
		driver, name = "sqlite", "file:"+path
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, table := range []string{"schedules", "schedule_runs", "jobs", "job_events"} {
		if _, err := db.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
}
