package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/tasks"
)

// maxScheduleForm bounds the form of a schedule, in bytes: a payload of the most
// that one may have, as forms write it.
const maxScheduleForm = 3*tasks.MaxPayload + maxForm

// scheduleForm is the form of a schedule: as it is kept, or as it was filled in.
type scheduleForm struct {
	New     bool
	Label   string // of one that is there
	Name    string
	Type    string
	Payload string
	Queue   string
	Cron    string
	Zone    string
	Missed  schedule.Missed
	Limit   string
	Overlap schedule.Overlap
	Paused  bool   // of a new one
	Seen    string // the version that was seen, in milliseconds
	Created string // from which @every counts, in milliseconds; empty of a new one

	Types   []string
	Queues  []string
	Next    nextView
	Problem string              // why it was not saved
	Bad     map[string][]string // what is wrong, by field
	Now     *scheduleRow        // what it is now, where another has changed it
}

// Choices of the form.
var (
	missedChoices  = []schedule.Missed{schedule.MissedOnce, schedule.MissedAll, schedule.MissedSkip}
	overlapChoices = []schedule.Overlap{schedule.OverlapAllow, schedule.OverlapSkip}
)

// MissedChoices are the policies for slots at which no scheduler ran.
func (f scheduleForm) MissedChoices() []schedule.Missed { return missedChoices }

// OverlapChoices are the policies for slots while a job is not over.
func (f scheduleForm) OverlapChoices() []schedule.Overlap { return overlapChoices }

// Path is where the form is sent.
func (f scheduleForm) Path() string {
	if f.New {
		return scheduleRoot
	}
	return schedulePath(f.Name) + "/save"
}

// Back is the page that the form was opened from.
func (f scheduleForm) Back() string {
	if f.New {
		return scheduleRoot
	}
	return schedulePath(f.Name)
}

// formOf is the form of a schedule as it is.
func formOf(e *schedule.Entry) scheduleForm {
	var payload bytes.Buffer
	if json.Indent(&payload, e.Payload, "", "  ") != nil {
		payload.Write(e.Payload)
	}
	return scheduleForm{
		Label: e.Name, Name: e.Name, Type: e.Type, Payload: payload.String(), Queue: e.Queue, Cron: e.Cron, Zone: e.TimeZone,
		Missed: e.Missed, Limit: strconv.Itoa(e.MissedLimit), Overlap: e.Overlap,
		Seen: milliseconds(e.UpdatedAt), Created: milliseconds(e.CreatedAt),
	}
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// readMilliseconds is the zero time for what is none.
func readMilliseconds(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// readScheduleForm reads what was sent; path is the schedule's name, empty for a
// new one.
func readScheduleForm(w http.ResponseWriter, r *http.Request, name string) (scheduleForm, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxScheduleForm)
	if err := r.ParseForm(); err != nil {
		return scheduleForm{}, job.Errorf(job.CodeInvalid, "the form cannot be read, or is larger than %d MiB", maxScheduleForm>>20)
	}
	field := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	f := scheduleForm{
		New: name == "", Label: name, Name: name, Type: field("type"), Payload: field("payload"), Queue: field("queue"),
		Cron: field("cron"), Zone: field("time_zone"), Missed: schedule.Missed(field("missed")), Limit: field("missed_limit"),
		Overlap: schedule.Overlap(field("overlap")), Paused: field("paused") != "", Seen: field("seen"), Created: field("created"),
	}
	if f.New {
		f.Name = field("name")
	}
	return f, nil
}

// change is what the form asks for.
func (f *scheduleForm) change() (c schedule.Change, err error) {
	c.Definition = schedule.Definition{
		Name: f.Name, Type: f.Type, Payload: []byte(f.Payload), Queue: f.Queue, Cron: f.Cron, TimeZone: f.Zone,
		Missed: f.Missed, Overlap: f.Overlap,
	}
	if f.New {
		c.Paused = &f.Paused
	} else if c.Seen = readMilliseconds(f.Seen); c.Seen.IsZero() {
		return c, job.Errorf(job.CodeInvalid, "the form does not say what it was opened with; open it again")
	}
	if f.Limit != "" {
		if c.MissedLimit, err = strconv.Atoi(f.Limit); err != nil || c.MissedLimit == 0 {
			c.MissedLimit = -1 // which the domain refuses in its own words
		}
	}
	return c, nil
}

// newSchedulePage is the empty form.
func (d *Dashboard) newSchedulePage(w http.ResponseWriter, r *http.Request) {
	d.showScheduleForm(w, r, http.StatusOK, scheduleForm{
		New: true, Type: r.URL.Query().Get("type"), Payload: "{}", Cron: "0 8 * * *", Zone: "UTC",
		Missed: schedule.MissedOnce, Overlap: schedule.OverlapAllow,
	})
}

// editSchedulePage is the form of a schedule.
func (d *Dashboard) editSchedulePage(w http.ResponseWriter, r *http.Request) {
	e, err := d.Schedules.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.showScheduleForm(w, r, http.StatusOK, formOf(&e))
}

func (d *Dashboard) showScheduleForm(w http.ResponseWriter, r *http.Request, status int, f scheduleForm) {
	if !userOf(r).Admin() {
		d.refuse(w, r, errViewer)
		return
	}
	var err error
	if f.Next, err = d.preview(r, f.Cron, f.Zone, f.Created); err != nil {
		d.refuse(w, r, err)
		return
	}
	for _, t := range d.Types.Types() {
		if !t.Ephemeral {
			f.Types = append(f.Types, t.Name)
		}
	}
	f.Types, f.Queues = with(f.Types, f.Type), with(d.Queues, f.Queue)
	title := "Edit " + f.Label
	if f.New {
		title = "New schedule"
	}
	d.render(w, r, status, "schedule_form.html", title, f)
}

// with is the choices with the one that was made: what a process with other
// settings knows must not become the first that this one does, by being saved.
func with(choices []string, chosen string) []string {
	if chosen == "" || slices.Contains(choices, chosen) {
		return choices
	}
	return append(slices.Clone(choices), chosen)
}

// preview looks what a schedule of these times would come to. The error is one
// of the database, whose clock it goes by.
func (d *Dashboard) preview(r *http.Request, cron, zone, created string) (nextView, error) {
	now, err := d.Jobs.Now(r.Context())
	if err != nil {
		return nextView{}, err
	}
	slots, err := schedule.Preview(cron, zone, readMilliseconds(created), now)
	var bad tasks.Invalid
	if errors.As(err, &bad) {
		var v nextView
		for _, f := range bad {
			v.Problem += fmt.Sprintf("The %s %s. ", wrongField{Field: f.Field}.Label(), f.Problem)
		}
		return v, nil
	}
	return nextView{Slots: slotsIn(zone, slots), Words: schedule.Words(strings.Join(strings.Fields(cron), " "))}, nil
}

// previewSchedule answers the form's script: the part of the page that shows the
// next slots.
func (d *Dashboard) previewSchedule(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	next, err := d.preview(r, v.Get("cron"), v.Get("time_zone"), v.Get("created"))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.renderPart(w, "next", next)
}

// saveSchedule creates or replaces what the form says, or only shows what it
// would come to where its button for that was pressed.
func (d *Dashboard) saveSchedule(w http.ResponseWriter, r *http.Request) {
	user := userOf(r)
	if !user.Admin() {
		d.refuse(w, r, errViewer)
		return
	}
	f, err := readScheduleForm(w, r, r.PathValue("name"))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if r.PostForm.Has("preview") {
		d.showScheduleForm(w, r, http.StatusOK, f)
		return
	}
	c, err := f.change()
	did := "saved"
	switch {
	case err != nil:
	case f.New:
		did = "created"
		err = d.Audit.Do(r.Context(), d.act(w, r, audit.ScheduleCreate, c.Name), func(ctx context.Context) error {
			_, err := d.Schedules.Create(ctx, c, actor(user))
			return err
		})
	default:
		err = d.Audit.Do(r.Context(), d.act(w, r, audit.ScheduleReplace, c.Name), func(ctx context.Context) error {
			_, err := d.Schedules.Replace(ctx, c, actor(user))
			return err
		})
	}
	if code := job.CodeOf(err); code == job.CodeConflict || code == job.CodeInvalid {
		d.refuseScheduleForm(w, r, f, err)
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.didSchedule(w, r, did, f.Name, schedulePath(f.Name))
}

// refuseScheduleForm shows the form again with what the domain says. Where
// another has changed the schedule it shows what it is now, and saving once more
// is meant.
func (d *Dashboard) refuseScheduleForm(w http.ResponseWriter, r *http.Request, f scheduleForm, err error) {
	status, message := d.told(r, err)
	f.Problem = "Not saved: " + message + "."
	var e *job.Error
	if errors.As(err, &e) && len(e.Fields) > 0 {
		f.Problem = "Not saved: see the fields."
		f.Bad = map[string][]string{}
		for _, one := range e.Fields {
			field, problem := formField(one)
			f.Bad[field] = append(f.Bad[field], problem)
		}
	}
	if errors.Is(err, schedule.ErrChanged) {
		now, err := d.Schedules.Get(r.Context(), f.Name)
		switch {
		case job.CodeOf(err) == job.CodeNotFound:
			f.New, f.Created = true, ""
		case err != nil:
			d.refuse(w, r, err)
			return
		default:
			row := rowOf(userOf(r), now)
			f.Now, f.Seen = &row, milliseconds(now.UpdatedAt)
		}
	}
	d.showScheduleForm(w, r, status, f)
}

// wrongField is what is wrong in a field of the form.
type wrongField struct {
	Field    string
	Problems []string
}

// Label is the field's name for people.
func (f wrongField) Label() string { return strings.ReplaceAll(f.Field, "_", " ") }

// Wrong is what is wrong in each of the fields.
func (f scheduleForm) Wrong(fields ...string) (out []wrongField) {
	for _, field := range fields {
		out = append(out, wrongField{field, f.Bad[field]})
	}
	return out
}

// formFields are the form's; what is wrong elsewhere is so in the payload.
var formFields = []string{"name", "type", "queue", "cron", "time_zone", "missed", "missed_limit", "overlap", "payload"}

// formField is where in the form a problem belongs, and what is said there.
func formField(f tasks.FieldError) (field, problem string) {
	if slices.Contains(formFields, f.Field) {
		return f.Field, f.Problem
	}
	return "payload", strings.TrimPrefix(f.Field, "payload.") + " " + f.Problem
}
