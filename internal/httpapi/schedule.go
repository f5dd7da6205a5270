package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/tasks"
)

// Schedules is what the routes of the timetable need; schedule.Service has it.
type Schedules interface {
	Create(ctx context.Context, c schedule.Change, actor string) (schedule.Entry, error)
	Replace(ctx context.Context, c schedule.Change, actor string) (schedule.Entry, error)
	Pause(ctx context.Context, name, actor string) (schedule.Entry, error)
	Resume(ctx context.Context, name, actor string) (schedule.Entry, error)
	Delete(ctx context.Context, name, actor string) error
	RunNow(ctx context.Context, name string, who job.Caller) (job.Accepted, error)
	Get(ctx context.Context, name string) (schedule.Entry, error)
	List(ctx context.Context) ([]schedule.Entry, error)
	Runs(ctx context.Context, name string, before int64, limit int) ([]schedule.Run, error)
}

// scheduleView is a schedule as the API shows it.
type scheduleView struct {
	Name        string           `json:"name" example:"morning-report"`
	Type        string           `json:"type" example:"email:send" doc:"of the job that each slot makes"`
	Payload     json.RawMessage  `json:"payload,omitempty" doc:"of the job; only with the scope schedules:write, since it may hold secrets"`
	Queue       string           `json:"queue,omitempty" doc:"the job type's own when left out"`
	Cron        string           `json:"cron" example:"30 8 * * mon-fri"`
	TimeZone    string           `json:"time_zone" example:"Europe/Berlin"`
	Missed      schedule.Missed  `json:"missed" enum:"skip,once,all"`
	MissedLimit int              `json:"missed_limit"`
	Overlap     schedule.Overlap `json:"overlap" enum:"allow,skip"`
	Paused      bool             `json:"paused"`
	Source      schedule.Source  `json:"source" enum:"builtin,file,api" doc:"where it comes from; one that was changed here is the API's"`
	CreatedAt   stamp            `json:"created_at"`
	UpdatedAt   stamp            `json:"updated_at"`
	LastSlot    stamp            `json:"last_slot,omitzero" doc:"the last slot that was seen to"`
	LastRunAt   stamp            `json:"last_run_at,omitzero" doc:"when its last job was made"`
	LastJobID   job.ID           `json:"last_job_id,omitempty" doc:"that job"`
	NextSlots   []stamp          `json:"next_slots" nullable:"false" doc:"the next five; none while it is paused"`
}

// showSchedule makes the view of a schedule for who asks.
func showSchedule(ctx context.Context, e schedule.Entry) scheduleView {
	v := scheduleView{
		Name: e.Name, Type: e.Type, Queue: e.Queue, Cron: e.Cron, TimeZone: e.TimeZone,
		Missed: e.Missed, MissedLimit: e.MissedLimit, Overlap: e.Overlap, Paused: e.Paused, Source: e.Source,
		CreatedAt: stamp{e.CreatedAt}, UpdatedAt: stamp{e.UpdatedAt},
		LastSlot: stamp{e.LastSlot}, LastRunAt: stamp{e.LastAt}, LastJobID: e.LastJob,
		NextSlots: []stamp{},
	}
	if who, _ := auth.From(ctx); who.May(auth.SchedulesWrite) {
		v.Payload = e.Payload
	}
	for _, at := range e.NextSlots(schedule.PreviewSlots) {
		v.NextSlots = append(v.NextSlots, stamp{at})
	}
	return v
}

// scheduleRequest is the body of POST /schedules and PUT /schedules/{name}.
type scheduleRequest struct {
	Name        string          `json:"name,omitempty" example:"morning-report" doc:"1 to 100 lower-case letters, digits and : . _ @ + -; in a PUT the path has it already"`
	Type        string          `json:"type" example:"email:send" doc:"a durable job type of the catalogue"`
	Payload     json.RawMessage `json:"payload,omitempty" doc:"an object as the job type wants it; none is the empty one"`
	Queue       string          `json:"queue,omitempty" doc:"the job type's own when left out"`
	Cron        string          `json:"cron" example:"30 8 * * mon-fri" doc:"minute, hour, day of month, month, day of week; or @yearly, @monthly, @weekly, @daily, @hourly; or @every 90s, counted from the schedule's creation. A time that the clock leaves out when it is put forward comes at the end of the gap, one that it shows twice comes once"`
	TimeZone    string          `json:"time_zone,omitempty" example:"Europe/Berlin" doc:"an IANA name; UTC when left out"`
	Missed      schedule.Missed `json:"missed,omitempty" enum:"skip,once,all" doc:"what becomes of slots at which no scheduler ran: left out, made up for by one job (the default), or by one each"`
	MissedLimit int             `json:"missed_limit,omitempty" minimum:"1" maximum:"100" doc:"how many jobs all makes at most, of the newest slots; 10 when left out"`
	Overlap     string          `json:"overlap,omitempty" enum:"allow,skip" doc:"skip leaves a slot out while a job of the schedule is not over"`
	Paused      *bool           `json:"paused,omitempty" doc:"as it was when left out"`
}

func (in *scheduleRequest) change() schedule.Change {
	return schedule.Change{Paused: in.Paused, Definition: schedule.Definition{
		Name: in.Name, Type: in.Type, Payload: in.Payload, Queue: in.Queue, Cron: in.Cron, TimeZone: in.TimeZone,
		Missed: in.Missed, MissedLimit: in.MissedLimit, Overlap: schedule.Overlap(in.Overlap),
	}}
}

// scheduleAnswer is a schedule with its version as ETag.
type scheduleAnswer struct {
	ETag string `header:"ETag" doc:"names what the schedule is now, for the If-Match of a PUT"`
	Body scheduleView
}

func answerSchedule(ctx context.Context, e schedule.Entry) *scheduleAnswer {
	return &scheduleAnswer{scheduleTag(e), showSchedule(ctx, e)}
}

type scheduleCreated struct {
	Location string `header:"Location" doc:"the schedule's path"`
	ETag     string `header:"ETag" doc:"as of GET /schedules/{name}"`
	Body     scheduleView
}

// scheduleTag is the entity tag of a schedule as it is (RFC 9110 section
// 8.8.3): when people last changed it. What its slots came to is no change.
func scheduleTag(e schedule.Entry) string {
	return `"` + strconv.FormatInt(e.UpdatedAt.UnixMilli(), 36) + `"`
}

// readScheduleTag is the zero time for no tag.
func readScheduleTag(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	bare, opened := strings.CutPrefix(s, `"`)
	bare, closed := strings.CutSuffix(bare, `"`)
	n, err := strconv.ParseInt(bare, 36, 64)
	if err != nil || !opened || !closed || n < 1 {
		return time.Time{}, job.Invalid(tasks.Invalid{{Field: "If-Match", Problem: "must be the ETag that the schedule was shown with"}})
	}
	return time.UnixMilli(n), nil
}

// bodyInput is the request of POST /schedules.
type bodyInput struct {
	RawBody []byte `contentType:"application/json"`
}

func (a *api) createSchedule(ctx context.Context, in *bodyInput) (*scheduleCreated, error) {
	body, err := a.scheduleBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	who, _ := auth.From(ctx)
	var e schedule.Entry
	err = a.audit.Do(ctx, act(ctx, audit.ScheduleCreate, body.Name), func(ctx context.Context) error {
		e, err = a.schedules.Create(ctx, body.change(), who.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &scheduleCreated{"/schedules/" + url.PathEscape(e.Name), scheduleTag(e), showSchedule(ctx, e)}, nil
}

// replaceInput is the request of PUT /schedules/{name}.
type replaceInput struct {
	Name    string `path:"name" doc:"the schedule"`
	Match   string `header:"If-Match" doc:"the ETag that the schedule was shown with: where it has been changed or deleted since, this is a 412 and nothing happens"`
	RawBody []byte `contentType:"application/json"`
}

func (a *api) replaceSchedule(ctx context.Context, in *replaceInput) (*scheduleAnswer, error) {
	body, err := a.scheduleBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	if body.Name != "" && body.Name != in.Name {
		return nil, job.Invalid(tasks.Invalid{{Field: "name", Problem: "must be the one of the path, or left out"}})
	}
	body.Name = in.Name
	c := body.change()
	if c.Seen, err = readScheduleTag(in.Match); err != nil {
		return nil, err
	}
	who, _ := auth.From(ctx)
	var e schedule.Entry
	err = a.audit.Do(ctx, act(ctx, audit.ScheduleReplace, in.Name), func(ctx context.Context) error {
		e, err = a.schedules.Replace(ctx, c, who.Name)
		return err
	})
	if errors.Is(err, schedule.ErrChanged) { // RFC 9110 section 13.1.1
		stale := problemOf(err)
		return nil, newProblem(http.StatusPreconditionFailed, job.CodeConflict, stale.Detail)
	}
	if err != nil {
		return nil, err
	}
	return answerSchedule(ctx, e), nil
}

// nameInput is the request of what needs the schedule's name alone.
type nameInput struct {
	Name string `path:"name" doc:"the schedule"`
}

func (a *api) findSchedule(ctx context.Context, in *nameInput) (*scheduleAnswer, error) {
	e, err := a.schedules.Get(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return answerSchedule(ctx, e), nil
}

// onSchedule makes a handler of one of the timetable's commands.
func onSchedule(a *api, action audit.Action, do func(s Schedules, ctx context.Context, name, actor string) (schedule.Entry, error)) func(context.Context, *nameInput) (*scheduleAnswer, error) {
	return func(ctx context.Context, in *nameInput) (*scheduleAnswer, error) {
		who, _ := auth.From(ctx)
		var e schedule.Entry
		err := a.audit.Do(ctx, act(ctx, action, in.Name), func(ctx context.Context) (err error) {
			e, err = do(a.schedules, ctx, in.Name, who.Name)
			return err
		})
		if err != nil {
			return nil, err
		}
		return answerSchedule(ctx, e), nil
	}
}

func (a *api) deleteSchedule(ctx context.Context, in *nameInput) (*struct{}, error) {
	who, _ := auth.From(ctx)
	return nil, a.audit.Do(ctx, act(ctx, audit.ScheduleDelete, in.Name), func(ctx context.Context) error {
		return a.schedules.Delete(ctx, in.Name, who.Name)
	})
}

type schedulesAnswer struct {
	Body struct {
		Schedules []scheduleView `json:"schedules" nullable:"false" doc:"by name"`
	}
}

func (a *api) listSchedules(ctx context.Context, _ *struct{}) (*schedulesAnswer, error) {
	all, err := a.schedules.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &schedulesAnswer{}
	out.Body.Schedules = make([]scheduleView, len(all))
	for i, e := range all {
		out.Body.Schedules[i] = showSchedule(ctx, e)
	}
	return out, nil
}

// runInput is the request of POST /schedules/{name}/run.
type runInput struct {
	Name string `path:"name" doc:"the schedule"`
	Key  string `header:"Idempotency-Key" doc:"names the request: sent again within 24 hours, it makes no new job and is answered as the first time"`
}

// runView is a line of a schedule's history.
type runView struct {
	Slot    stamp               `json:"slot,omitzero" doc:"when it was due; missing for a run by hand"`
	At      stamp               `json:"at" doc:"when it was seen to"`
	Outcome schedule.RunOutcome `json:"outcome" enum:"fired,missed,overlap,refused" doc:"fired made a job; the others did not, for the reason given"`
	JobID   job.ID              `json:"job_id,omitempty"`
	State   job.State           `json:"job_state,omitempty" enum:"waiting,running,held,done,failed,cancelled,expired,suppressed" doc:"how that job is now; missing where it is gone"`
	Actor   string              `json:"actor,omitempty" doc:"the API key or user whose hand it was"`
	Reason  string              `json:"reason,omitempty"`
}

// runsInput is the request of GET /schedules/{name}/runs.
type runsInput struct {
	Name   string `path:"name" doc:"the schedule"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before"`
}

type runsAnswer struct {
	Body struct {
		Runs       []runView `json:"runs" nullable:"false" doc:"newest first"`
		NextCursor string    `json:"next_cursor,omitempty" doc:"asks for the page after this one; none is left where it is missing"`
	}
}

func (a *api) listRuns(ctx context.Context, in *runsInput) (*runsAnswer, error) {
	before, err := readRunCursor(in.Cursor)
	if err != nil {
		return nil, job.Invalid(tasks.Invalid{{Field: "cursor", Problem: "is not one that a page before gave"}})
	}
	runs, err := a.schedules.Runs(ctx, in.Name, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &runsAnswer{}
	if len(runs) > in.Limit {
		runs = runs[:in.Limit]
		out.Body.NextCursor = runCursor(runs[len(runs)-1].Seq)
	}
	out.Body.Runs = make([]runView, len(runs))
	for i, r := range runs {
		out.Body.Runs[i] = runView{
			Slot: stamp{r.Slot}, At: stamp{r.At}, Outcome: r.Outcome, JobID: r.JobID, State: r.JobState, Actor: r.Actor, Reason: r.Reason,
		}
	}
	return out, nil
}

// runCursor names the place behind a run.
func runCursor(seq int64) string {
	return base64.RawURLEncoding.EncodeToString(strconv.AppendInt(nil, seq, 10))
}

// readRunCursor is 0, the beginning, for no cursor.
func readRunCursor(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err == nil && n < 1 {
		err = strconv.ErrRange
	}
	return n, err
}
