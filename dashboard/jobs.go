package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
)

const (
	// jobsPerPage is how many jobs a page lists.
	jobsPerPage = 50
	// maxPayload is how much of a payload a page shows, in bytes.
	maxPayload = 32 << 10
	// maxForm bounds the forms of commands, in bytes.
	maxForm = 1 << 10
)

// listStates are offered by the list of jobs.
var listStates = []string{
	"queued", "scheduled", "retrying", "running", "held", "done", "failed", "cancelled", "expired", "suppressed",
}

type jobsView struct {
	jobSearch
	States  []string
	Codes   []job.Code
	Queues  []string
	Jobs    jobList
	Problem string // why there are none
	older   job.ID
}

// Older is the address of the page after this one, or empty.
func (v jobsView) Older() string {
	if v.older == "" {
		return ""
	}
	return v.link(jobsRoot, "before", string(v.older))
}

// endCodes are what a job's last outcome can be of.
var endCodes = []job.Code{
	job.CodeTemporary, job.CodePermanent, job.CodeSuppressed, job.CodeExpired, job.CodeCancelled, job.CodeAmbiguous, job.CodeInternal,
}

// searchLimit bounds what a search may take of the database.
const searchLimit = 10 * time.Second

// jobsPage lists jobs, newest first, by what its address asks for. An id leads
// to its job at once.
func (d *Dashboard) jobsPage(w http.ResponseWriter, r *http.Request) {
	s, err := readJobSearch(r.URL.Query())
	if id, notOne := job.ParseID(s.Given("recipient")); notOne == nil {
		http.Redirect(w, r, jobPath(id), http.StatusSeeOther)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), searchLimit)
	defer cancel()
	v := jobsView{jobSearch: s, States: listStates, Codes: endCodes, Queues: d.Queues}
	if err == nil {
		err = d.search(ctx, &v)
	}
	status := http.StatusOK
	if err != nil {
		status, v.Problem = d.told(r, s.tooSlow(err))
	}
	d.render(w, r, status, "jobs.html", "Jobs", v)
}

// search fills in the page's jobs.
func (d *Dashboard) search(ctx context.Context, v *jobsView) error {
	now, err := d.Jobs.Now(ctx)
	if err != nil {
		return err
	}
	f := v.Filter
	f.Limit = jobsPerPage + 1
	v.Jobs = d.list(ctx, now, f)
	if len(v.Jobs.Rows) > jobsPerPage { // one was asked for beyond the page
		v.Jobs.Rows = v.Jobs.Rows[:jobsPerPage]
		v.older = v.Jobs.Rows[jobsPerPage-1].ID
	}
	return v.Jobs.Err
}

func jobPath(id job.ID) string { return jobsRoot + "/" + string(id) }

type jobView struct {
	job.Job
	Status  string
	Events  []job.Event
	Payload string // for admins only
	Problem string // why a command was refused
}

func (d *Dashboard) jobPage(w http.ResponseWriter, r *http.Request) {
	id, err := job.ParseID(r.PathValue("id"))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.showJob(w, r, id, http.StatusOK, "")
}

func (d *Dashboard) showJob(w http.ResponseWriter, r *http.Request, id job.ID, status int, problem string) {
	j, err := d.Jobs.Find(r.Context(), id)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	v := jobView{Job: j, Problem: problem}
	if !j.Ephemeral { // of those there is no history
		if v.Events, err = d.Jobs.Events(r.Context(), id); err != nil {
			d.refuse(w, r, err)
			return
		}
	}
	now, err := d.Jobs.Now(r.Context())
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	v.Status = j.Status(now)
	if userOf(r).Admin() {
		v.Payload = indented(j.Payload)
	}
	d.render(w, r, status, "job.html", "Job "+string(id), v)
}

// indented is a payload for people to read.
func indented(payload []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, payload, "", "  ") != nil {
		return ""
	}
	if out.Len() > maxPayload {
		return strings.ToValidUTF8(string(out.Bytes()[:maxPayload]), "") + "\n… and more"
	}
	return out.String()
}

// Cancellable, and so on, say which commands make sense now; the domain
// decides.
func (v jobView) Cancellable() bool {
	return v.State == job.Waiting || v.State == job.Held || v.State == job.Running && !v.CancelRequested
}

// Runnable says whether the job can be made due at once.
func (v jobView) Runnable() bool {
	return !v.Ephemeral && v.State == job.Waiting && v.Status != "queued"
}

// Retryable says whether the job can have a new life.
func (v jobView) Retryable() bool {
	return !v.Ephemeral && !v.PayloadGone && v.State.Final() && v.State != job.Done
}

// Resolvable says whether the job waits for a person's word.
func (v jobView) Resolvable() bool { return v.State == job.Held }

// Live says whether the page should look again by itself.
func (v jobView) Live() bool { return !v.State.Final() }

// command carries out what a job's page was asked for and shows the job again.
func (d *Dashboard) command(w http.ResponseWriter, r *http.Request) {
	user := userOf(r)
	id, err := job.ParseID(r.PathValue("id"))
	if err == nil && !user.Admin() {
		err = errViewer
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	command := r.PathValue("command")
	err = d.carryOut(w, r, id, command)
	if code := job.CodeOf(err); code == job.CodeConflict || code == job.CodeInvalid {
		status, message := d.told(r, err)
		d.showJob(w, r, id, status, message)
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user acted on a job", "user", user.Name, "command", command, "job", id)
	http.Redirect(w, r, jobPath(id), http.StatusSeeOther)
}

// errViewer refuses a viewer's attempt to act.
var errViewer = job.Errorf(job.CodeForbidden, "viewers may look and not act")

// jobActions are the commands of a job's page.
var jobActions = map[string]audit.Action{
	"cancel": audit.JobCancel, "retry": audit.JobRetry, "run": audit.JobRun, "resolve": audit.JobResolve,
}

func (d *Dashboard) carryOut(w http.ResponseWriter, r *http.Request, id job.ID, command string) error {
	action, known := jobActions[command]
	if !known {
		return job.Errorf(job.CodeNotFound, "there is no such command")
	}
	doing, by := d.act(w, r, action, string(id)), actor(userOf(r))
	resolution := job.Resolution(r.PostFormValue("outcome"))
	if action == audit.JobResolve {
		doing.Detail = string(resolution)
	}
	return d.Audit.Do(r.Context(), doing, func(ctx context.Context) (err error) {
		switch action {
		case audit.JobCancel:
			_, err = d.Jobs.Cancel(ctx, id, by)
		case audit.JobRetry:
			_, err = d.Jobs.Retry(ctx, id, by)
		case audit.JobRun:
			_, err = d.Jobs.RunNow(ctx, id, by)
		case audit.JobResolve:
			_, err = d.Jobs.Resolve(ctx, id, by, resolution)
		}
		return err
	})
}
