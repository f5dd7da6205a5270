package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/roster"
)

const workerRoot = root + "/workers"

const (
	// runningShown is how many running jobs the page lists.
	runningShown = 200
	// sightFresh is how old what it shows may be: a page asks again every few
	// seconds, and many may look.
	sightFresh = 1500 * time.Millisecond
	// sightLimit bounds what it takes to look.
	sightLimit = 5 * time.Second
)

// sight is what the page knows: the leases in SQL say what runs and on whom,
// which is the truth; Redis says which processes there are.
type sight struct {
	Now       time.Time // the database's
	Running   []job.Job // the newest of them
	Total     int       // of all that run
	Err       error     // why SQL told none of that
	Processes []roster.Process
	FleetErr  error // why Redis did not
}

// see looks at the runs of a worker, or of all.
func (d *Dashboard) see(ctx context.Context, worker string) (s sight) {
	// The answer may be for others too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sightLimit)
	defer cancel()
	if s.Processes, s.FleetErr = roster.List(ctx, d.Redis); s.FleetErr != nil {
		d.log.Warn("the processes cannot be told", "err", s.FleetErr)
	}
	f := job.Filter{Status: string(job.Running), Worker: worker, Limit: runningShown}
	if s.Now, s.Err = d.Jobs.Now(ctx); s.Err == nil {
		s.Running, s.Err = d.Jobs.List(ctx, f)
	}
	if s.Total = len(s.Running); s.Err == nil && s.Total == runningShown {
		s.Total, s.Err = d.Jobs.Count(ctx, f)
	}
	if s.Err != nil {
		d.log.Warn("what is running cannot be told", "err", s.Err)
	}
	return s
}

// processRow is a process on the page.
type processRow struct {
	roster.Process
	Known          bool // to Redis; else only its leases tell of it
	Running, Slots int  // as asynq counts, ephemeral tasks too; Slots is 0 of one that serves no queues
}

// Mute says that nothing is heard of it.
func (p processRow) Mute() bool { return !p.Known || p.Silent() }

// Path is the page of the process alone.
func (p processRow) Path() string { return workerRoot + "?worker=" + url.QueryEscape(p.Name) }

// runRow is a running job on the page.
type runRow struct {
	job.Job
	Since time.Duration // that it has been running
	Left  time.Duration // of its lease; below zero where it has run out
	Mute  bool          // nothing is heard of its worker
}

type workersView struct {
	sight
	Worker    string // shown alone; empty for all
	Rows      []processRow
	Runs      []runRow
	Note      string
	Problem   string
	NoWorkers bool
}

// workersPage lists the processes and what they run.
func (d *Dashboard) workersPage(w http.ResponseWriter, r *http.Request) {
	v := workersView{Worker: r.URL.Query().Get("worker")}
	if id, err := job.ParseID(r.URL.Query().Get("cancelled")); err == nil {
		v.Note = "The cancellation of job …" + string(id[len(id)-8:]) + " was asked for; it stops if it still can."
	}
	d.showWorkers(w, r, http.StatusOK, v)
}

func (d *Dashboard) showWorkers(w http.ResponseWriter, r *http.Request, status int, v workersView) {
	if v.Worker == "" {
		v.sight = d.sights.get(sightFresh, func() sight { return d.see(r.Context(), "") })
	} else {
		v.sight = d.see(r.Context(), v.Worker)
	}
	v.Rows = d.processes(v.sight, v.Worker)
	mute := map[string]bool{}
	for _, p := range v.Rows {
		mute[p.Name] = p.Mute() && v.FleetErr == nil
	}
	v.NoWorkers = v.FleetErr == nil && v.Worker == "" && !slices.ContainsFunc(v.Rows, func(p processRow) bool { return p.Queues != "" && !p.Mute() })
	for _, j := range v.Running {
		v.Runs = append(v.Runs, runRow{Job: j, Since: v.Now.Sub(j.StartedAt), Left: j.LeaseUntil.Sub(v.Now), Mute: mute[j.Worker]})
	}
	d.render(w, r, status, "workers.html", "Workers", v)
}

// processes are those that Redis knows and those that hold leases.
func (d *Dashboard) processes(s sight, only string) []processRow {
	var rows []processRow
	seen := map[string]bool{}
	_, counts := d.Numbers.Current()
	for _, p := range s.Processes {
		seen[p.Name] = true
		if only != "" && only != p.Name {
			continue
		}
		row := processRow{Process: p, Known: true}
		for _, c := range counts {
			if p.Queues != "" && c.Host == p.Host && c.PID == p.PID {
				row.Running, row.Slots = c.Running, c.Slots
			}
		}
		rows = append(rows, row)
	}
	for _, j := range s.Running {
		if !seen[j.Worker] {
			seen[j.Worker] = true
			rows = append(rows, processRow{Process: roster.Process{Name: j.Worker}})
		}
	}
	return rows
}

// cancelRun cancels a running job from its line.
func (d *Dashboard) cancelRun(w http.ResponseWriter, r *http.Request) {
	user := userOf(r)
	id, err := job.ParseID(r.PathValue("id"))
	if err == nil && !user.Admin() {
		err = errViewer
	}
	if err == nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		err = d.Audit.Do(r.Context(), d.act(w, r, audit.JobCancel, string(id)), func(ctx context.Context) error {
			_, err := d.Jobs.Cancel(ctx, id, actor(user))
			return err
		})
		d.sights.forget()
	}
	worker := r.PostFormValue("worker")
	if code := job.CodeOf(err); code == job.CodeConflict || code == job.CodeNotFound {
		status, message := d.told(r, err) // it has ended meanwhile
		d.showWorkers(w, r, status, workersView{Worker: worker, Problem: message})
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user acted on a job", "user", user.Name, "command", "cancel", "job", id)
	v := url.Values{"cancelled": {string(id)}}
	if worker != "" {
		v.Set("worker", worker)
	}
	http.Redirect(w, r, workerRoot+"?"+v.Encode(), http.StatusSeeOther)
}
