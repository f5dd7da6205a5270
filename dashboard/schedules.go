package dashboard

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
)

const scheduleRoot = root + "/schedules"

// runsPerPage is how many lines of a schedule's history a page has.
const runsPerPage = 50

// Schedules is the timetable; *schedule.Service has it.
type Schedules interface {
	List(ctx context.Context) ([]schedule.Entry, error)
	Get(ctx context.Context, name string) (schedule.Entry, error)
	Runs(ctx context.Context, name string, before int64, limit int) ([]schedule.Run, error)
	Latest(ctx context.Context) (map[string]schedule.Run, error)

	Create(ctx context.Context, c schedule.Change, actor string) (schedule.Entry, error)
	Replace(ctx context.Context, c schedule.Change, actor string) (schedule.Entry, error)
	Pause(ctx context.Context, name, actor string) (schedule.Entry, error)
	Resume(ctx context.Context, name, actor string) (schedule.Entry, error)
	Delete(ctx context.Context, name, actor string) error
	RunNow(ctx context.Context, name string, who job.Caller) (job.Accepted, error)
}

// scheduleRow is a schedule in a list.
type scheduleRow struct {
	schedule.Entry
	Label string // its name as the reader may see it
	Path  string // of its page; empty where that would tell more than Label
	Words string // its times, where they are short in words
	Last  schedule.Run
}

// rowOf is the schedule as the user may see it. A name may hold an address; a
// built-in one holds what merely looks like one.
func rowOf(u auth.User, e schedule.Entry) scheduleRow {
	row := scheduleRow{Entry: e, Label: e.Name, Path: schedulePath(e.Name), Words: schedule.Words(e.Cron)}
	if e.Source != schedule.FromBuiltin && shown(u, e.Name) != e.Name {
		row.Label, row.Path = shown(u, e.Name), ""
	}
	return row
}

func schedulePath(name string) string { return scheduleRoot + "/" + url.PathEscape(name) }

type schedulesView struct {
	Rows []scheduleRow
	Note string // what an act did
}

// schedulesPage lists the timetable.
func (d *Dashboard) schedulesPage(w http.ResponseWriter, r *http.Request) {
	all, err := d.Schedules.List(r.Context())
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	latest, err := d.Schedules.Latest(r.Context())
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	v := schedulesView{Rows: make([]scheduleRow, len(all)), Note: scheduleNotes[r.URL.Query().Get("did")]}
	for i, e := range all {
		v.Rows[i] = rowOf(userOf(r), e)
		v.Rows[i].Last = latest[e.Name]
	}
	d.render(w, r, http.StatusOK, "schedules.html", "Schedules", v)
}

// scheduleNotes says what an act did that led to a page.
var scheduleNotes = map[string]string{
	"created": "It is created.", "saved": "It is saved.", "paused": "It is paused.", "resumed": "It goes on with its next slot.",
	"run": "A job of it was made; its slots stay as they are.", "deleted": "It is deleted. Jobs that it has made stay.",
}

type scheduleView struct {
	scheduleRow
	Next    nextView
	Runs    []schedule.Run
	Older   int64  // cursor of the history's next page; 0 for none
	Payload string // for admins only
	Key     string // makes a run by hand that is asked for twice one
	Note    string
	Problem string // why a command was refused
}

// Erasable says whether the schedule can be deleted; the domain decides.
func (v scheduleView) Erasable() bool { return v.Source == schedule.FromAPI }

func (d *Dashboard) schedulePage(w http.ResponseWriter, r *http.Request) {
	d.showSchedule(w, r, http.StatusOK, scheduleView{Note: scheduleNotes[r.URL.Query().Get("did")]})
}

// showSchedule shows a schedule and a page of its history.
func (d *Dashboard) showSchedule(w http.ResponseWriter, r *http.Request, status int, v scheduleView) {
	name, user := r.PathValue("name"), userOf(r)
	var before int64
	var err error
	if cursor := r.URL.Query().Get("before"); cursor != "" {
		if before, err = strconv.ParseInt(cursor, 36, 64); err != nil || before < 1 {
			d.refuse(w, r, job.Errorf(job.CodeInvalid, "this is no page of the history"))
			return
		}
	}
	e, err := d.Schedules.Get(r.Context(), name)
	if err == nil {
		v.Runs, err = d.Schedules.Runs(r.Context(), name, before, runsPerPage+1)
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if len(v.Runs) > runsPerPage { // one was asked for beyond the page
		v.Runs = v.Runs[:runsPerPage]
		v.Older = v.Runs[runsPerPage-1].Seq
	}
	v.scheduleRow, v.Next, v.Key = rowOf(user, e), nextOf(&e), rand.Text()
	if user.Admin() {
		v.Payload = indented(e.Payload)
	}
	d.render(w, r, status, "schedule.html", "Schedule "+v.Label, v)
}

// nextView is a schedule's next slots, or why there are none.
type nextView struct {
	Slots   []slotView
	Words   string
	Problem string
}

// slotView is a slot in UTC and as the clock shows it in the schedule's zone.
type slotView struct {
	At   time.Time
	Wall string // empty in UTC
}

func nextOf(e *schedule.Entry) nextView {
	return nextView{Slots: slotsIn(e.TimeZone, e.NextSlots(schedule.PreviewSlots)), Words: schedule.Words(e.Cron)}
}

func slotsIn(zone string, slots []time.Time) []slotView {
	out := make([]slotView, len(slots))
	loc, err := schedule.Location(cmp.Or(zone, "UTC"))
	for i, at := range slots {
		out[i].At = at
		if err == nil && loc != time.UTC {
			out[i].Wall = at.In(loc).Format("Mon 2006-01-02 15:04:05 MST")
		}
	}
	return out
}
