package dashboard

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/url"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
)

// scheduleCommand carries out what a schedule's page was asked for.
func (d *Dashboard) scheduleCommand(w http.ResponseWriter, r *http.Request) {
	user := userOf(r)
	if !user.Admin() {
		d.refuse(w, r, errViewer)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	ctx, by, name := r.Context(), actor(user), r.PathValue("name")
	back, did := schedulePath(name), ""
	doing := d.act(w, r, "", name)
	var err error
	switch r.PathValue("command") {
	case "pause":
		did, doing.Action = "paused", audit.SchedulePause
		err = d.Audit.Do(ctx, doing, func(ctx context.Context) error {
			_, err := d.Schedules.Pause(ctx, name, by)
			return err
		})
	case "resume":
		did, doing.Action = "resumed", audit.ScheduleResume
		err = d.Audit.Do(ctx, doing, func(ctx context.Context) error {
			_, err := d.Schedules.Resume(ctx, name, by)
			return err
		})
	case "run":
		did, doing.Action = "run", audit.ScheduleRun
		hash := sha256.Sum256([]byte(name))
		caller := job.Caller{Name: by, IdempotencyKey: r.PostFormValue("key"), BodyHash: hash[:]}
		err = d.Audit.Steps(ctx, doing, audit.One(func(ctx context.Context) error {
			_, err := d.Schedules.RunNow(ctx, name, caller)
			return err
		}))
	case "delete":
		did, back, doing.Action = "deleted", scheduleRoot, audit.ScheduleDelete
		err = d.Audit.Do(ctx, doing, func(ctx context.Context) error { return d.Schedules.Delete(ctx, name, by) })
	default:
		err = job.Errorf(job.CodeNotFound, "there is no such command")
	}
	if code := job.CodeOf(err); code == job.CodeConflict || code == job.CodeInvalid {
		status, message := d.told(r, err)
		d.showSchedule(w, r, status, scheduleView{Problem: message})
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.didSchedule(w, r, did, name, back)
}

// didSchedule notes an act on a schedule and leads on to a page.
func (d *Dashboard) didSchedule(w http.ResponseWriter, r *http.Request, did, name, next string) {
	d.log.Info("a user acted on a schedule", "user", userOf(r).Name, "command", did, "schedule", name)
	http.Redirect(w, r, next+"?did="+url.QueryEscape(did), http.StatusSeeOther)
}
