package dashboard

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/postrider/postrider/internal/job"
)

const bulkRoot = jobsRoot + "/bulk"

const (
	// bulkStep is how many jobs one request of a page acts on: a second's work or
	// two, after which the page tells how far it is.
	bulkStep = 1000
	// bulkSample is how many jobs are shown before anything is done.
	bulkSample = 10
	// bulkTime bounds the time that one request takes.
	bulkTime = 25 * time.Second
	// maxBulkForm bounds the form of a step, in bytes.
	maxBulkForm = 32 << 10
)

// bulkRun is a command on many jobs, as far as it is. Between two steps it lives
// in the page's form: a step can be repeated, by any process.
type bulkRun struct {
	jobSearch
	Act     job.Bulk
	At      time.Time      // when they were counted: nothing that changed since is acted on
	Counted int            // jobs
	Done    int            // of them
	Refused map[string]int // by the reason, of them
	Next    job.ID         // place to go on from; empty before the first step
}

// Verb names what is done, at the beginning of a sentence.
func (b bulkRun) Verb() string {
	if b.Act == job.BulkCancel {
		return "Cancel"
	}
	return "Retry"
}

// Did names what was done.
func (b bulkRun) Did() string {
	if b.Act == job.BulkCancel {
		return "cancelled"
	}
	return "retried"
}

// Path is where its form goes.
func (b bulkRun) Path() string { return bulkRoot + "/" + string(b.Act) }

// AtMillis is At in a form, in milliseconds since 1970.
func (b bulkRun) AtMillis() int64 { return b.At.UnixMilli() }

// Tally is Refused in a form.
func (b bulkRun) Tally() string {
	text, err := json.Marshal(b.Refused)
	if err != nil || b.Refused == nil {
		return "{}" // texts and numbers are always JSON
	}
	return string(text)
}

// Most is how many one run acts on at most.
func (b bulkRun) Most() int { return min(b.Counted, job.MaxBulk) }

// Seen is how many jobs it has come to.
func (b bulkRun) Seen() int {
	n := b.Done
	for _, k := range b.Refused {
		n += k
	}
	return n
}

// Others is how many of the counted ones it has not come to.
func (b bulkRun) Others() int { return max(0, b.Most()-b.Seen()) }

// refusedJobs is how many jobs stayed as they were for a reason.
type refusedJobs struct {
	Reason string
	N      int
}

// Reasons lists why jobs were refused, the most frequent first.
func (b bulkRun) Reasons() []refusedJobs {
	var out []refusedJobs
	for _, reason := range slices.Sorted(maps.Keys(b.Refused)) {
		out = append(out, refusedJobs{reason, b.Refused[reason]})
	}
	slices.SortStableFunc(out, func(x, y refusedJobs) int { return cmp.Compare(y.N, x.N) })
	return out
}

type bulkView struct {
	bulkRun
	Sample  jobList
	Asking  bool   // nothing was done yet
	Running bool   // there is more to do
	Stopped bool   // by a person
	Problem string // why a step failed
}

// bulkPage counts what a command would act on, and asks.
func (d *Dashboard) bulkPage(w http.ResponseWriter, r *http.Request) {
	b := bulkRun{Act: job.Bulk(r.PathValue("act"))}
	err := mayBulk(r, b.Act)
	if err == nil {
		b.jobSearch, err = readJobSearch(r.URL.Query())
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), searchLimit)
	defer cancel()
	v := bulkView{bulkRun: b, Asking: true}
	if v.At, err = d.Jobs.Now(ctx); err == nil {
		f := b.Filter
		f.Unchanged, f.Limit = v.At, bulkSample
		var sample []job.Job
		v.Counted, sample, err = d.Jobs.CountMatching(ctx, b.Act, f)
		v.Sample = rowsOf(sample, v.At)
	}
	if err != nil {
		d.refuse(w, r, b.tooSlow(err))
		return
	}
	d.render(w, r, http.StatusOK, "bulk.html", v.Verb()+" jobs", v)
}

func mayBulk(r *http.Request, act job.Bulk) error {
	switch {
	case len(act.Statuses()) == 0:
		return job.Errorf(job.CodeNotFound, "there is no such command")
	case !userOf(r).Admin():
		return errViewer
	}
	return nil
}

// bulkCommand does the next step, and shows how far it is.
func (d *Dashboard) bulkCommand(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBulkForm)
	b := bulkRun{}
	err := mayBulk(r, job.Bulk(r.PathValue("act")))
	if err == nil {
		b, err = readBulk(r)
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	v := bulkView{bulkRun: b, Stopped: r.PostForm.Has("stop")}
	status := http.StatusOK
	if !v.Stopped {
		if err := d.bulkStep(w, r, &v); err != nil {
			if job.CodeOf(err) == job.CodeInvalid {
				d.refuse(w, r, err)
				return
			}
			v.Running = true // the form goes on from where it came to
			status, v.Problem = d.told(r, err)
		}
	}
	d.render(w, r, status, "bulk.html", v.Verb()+" jobs", v)
}

func (d *Dashboard) bulkStep(w http.ResponseWriter, r *http.Request, v *bulkView) error {
	ctx, cancel := context.WithTimeout(r.Context(), bulkTime)
	defer cancel()
	f := v.Filter
	f.Unchanged, f.Before, f.Limit = v.At, v.Next, min(bulkStep, v.Others())
	if f.Limit == 0 {
		return nil
	}
	var report job.BulkReport
	err := d.Audit.Do(ctx, d.act(w, r, "", "").OnMany(v.Act, f), func(ctx context.Context) (err error) {
		report, err = d.Jobs.ActOnMatching(ctx, v.Act, f, actor(userOf(r)))
		return err
	})
	v.Done += report.Done
	for reason, n := range report.Refused {
		v.Refused[reason] += n
	}
	v.Next = report.Next
	v.Running = report.Next != "" && v.Others() > 0
	if report.Done > 0 {
		d.log.Info("a user acted on jobs", "user", userOf(r).Name, "command", v.Act, "done", report.Done, "refused", report.Passed())
	}
	return err
}

// readBulk reads the form of a step.
func readBulk(r *http.Request) (b bulkRun, err error) {
	b.Act, b.Refused = job.Bulk(r.PathValue("act")), map[string]int{}
	if err := r.ParseForm(); err != nil {
		return b, job.Errorf(job.CodeInvalid, "the form cannot be read")
	}
	asked, err := url.ParseQuery(r.PostForm.Get("search"))
	if err != nil {
		return b, job.Errorf(job.CodeInvalid, "the form does not say which jobs")
	}
	if b.jobSearch, err = readJobSearch(asked); err != nil {
		return b, err
	}
	at, err := strconv.ParseInt(r.PostForm.Get("at"), 10, 64)
	if err != nil || at <= 0 {
		return b, job.Errorf(job.CodeInvalid, "the form does not say when the jobs were counted")
	}
	b.At = time.UnixMilli(at)
	for name, into := range map[string]*int{"counted": &b.Counted, "done": &b.Done} {
		if *into, err = strconv.Atoi(cmp.Or(r.PostForm.Get(name), "0")); err != nil || *into < 0 {
			return b, job.Errorf(job.CodeInvalid, "the form does not say how many jobs")
		}
	}
	if text := r.PostForm.Get("refused"); text != "" {
		if json.Unmarshal([]byte(text), &b.Refused) != nil || b.Refused == nil {
			return b, job.Errorf(job.CodeInvalid, "the form does not say what was refused")
		}
	}
	if next := r.PostForm.Get("next"); next != "" {
		if b.Next, err = job.ParseID(next); err != nil {
			return b, job.Errorf(job.CodeInvalid, "the form does not say where to go on")
		}
	}
	return b, nil
}

// bulkLink is what a search's page offers to do with all that it found.
type bulkLink struct{ Label, Path string }

// Bulk is that command, and whether there is one.
func (v jobsView) Bulk() *bulkLink {
	for act, verb := range map[job.Bulk]string{job.BulkRetry: "Retry", job.BulkCancel: "Cancel"} {
		if slices.Contains(act.Statuses(), v.Filter.Status) {
			return &bulkLink{fmt.Sprintf("%s all that were found …", verb), v.link(bulkRoot + "/" + string(act))}
		}
	}
	return nil
}
