package dashboard

import (
	"context"
	"net/http"
	"time"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/numbers"
)

// overviewLimit bounds what the overview asks of SQL.
const overviewLimit = 5 * time.Second

// Rows that the overview shows of a kind.
const (
	mostRunning  = 20
	mostHeld     = 20
	mostFailures = 15
)

// overviewView is the overview; a part whose error is set could not be had,
// which leaves the others.
type overviewView struct {
	Alerts    []alert.Alert // that fire
	Engine    engineView
	Running   jobList
	Held      jobList
	Failures  jobList
	Schedules []scheduleRow
	SchedErr  error
	Burns     []delivery.Burn
	Now       time.Time
}

// engineView is the overview's part that Redis tells.
type engineView struct {
	Queues  []numbers.Queue
	Workers []numbers.Worker
	Problem string // why there is nothing else
}

func (d *Dashboard) look() engineView {
	now, workers := d.Numbers.Current()
	v := engineView{Queues: now.Queues, Workers: workers, Problem: now.Problems["queues"]}
	if v.Problem == "" {
		v.Problem = now.Problems["workers"]
	}
	return v
}

// jobList is jobs as a table shows them.
type jobList struct {
	Rows []jobRow
	Err  error
}

// jobRow is a job in a list.
type jobRow struct {
	job.Job
	Status string
	Since  time.Duration // that it has been running
}

func (d *Dashboard) overviewPage(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), overviewLimit)
	defer cancel()
	v := overviewView{Engine: d.look()}
	now, err := d.Jobs.Now(ctx)
	if err != nil {
		d.log.Warn("the overview lacks what SQL would tell", "err", err)
		v.Running.Err, v.Held.Err, v.Failures.Err, v.SchedErr = err, err, err, err
		d.render(w, r, http.StatusOK, "overview.html", "Overview", v)
		return
	}
	v.Now = now
	if v.Burns, err = d.Deliveries.Burns(ctx); err != nil {
		d.log.Warn("the overview lacks the objectives", "err", err)
	}
	alerts, err := d.Alerts.Alerts(ctx)
	if err != nil {
		d.log.Warn("the overview lacks the alerts", "err", err)
	}
	for _, a := range alerts {
		if a.Firing() {
			v.Alerts = append(v.Alerts, a)
		}
	}
	v.Running = d.list(ctx, now, job.Filter{Status: string(job.Running), Limit: mostRunning})
	v.Held = d.list(ctx, now, job.Filter{Status: string(job.Held), Limit: mostHeld})
	v.Failures = d.list(ctx, now, job.Filter{Status: string(job.Failed), Limit: mostFailures})
	all, err := d.Schedules.List(ctx)
	if v.SchedErr = err; err != nil {
		d.log.Warn("the overview lacks the timetable", "err", err)
	}
	for _, e := range all {
		v.Schedules = append(v.Schedules, rowOf(userOf(r), e))
	}
	d.render(w, r, http.StatusOK, "overview.html", "Overview", v)
}

// list reads jobs for a table.
func (d *Dashboard) list(ctx context.Context, now time.Time, f job.Filter) jobList {
	jobs, err := d.Jobs.List(ctx, f)
	if err != nil {
		d.log.Warn("a list of jobs could not be read", "state", f.Status, "err", err)
		return jobList{Err: err}
	}
	return rowsOf(jobs, now)
}

// rowsOf are jobs as a table shows them.
func rowsOf(jobs []job.Job, now time.Time) jobList {
	rows := make([]jobRow, len(jobs))
	for i, j := range jobs {
		rows[i] = jobRow{Job: j, Status: j.Status(now)}
		if j.State == job.Running {
			rows[i].Since = now.Sub(j.StartedAt)
		}
	}
	return jobList{Rows: rows}
}
