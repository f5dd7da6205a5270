package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// scheduleRoutes declares the operations on the timetable.
func (a *api) scheduleRoutes() {
	readErrors := []int{401, 403, 404, 422, 429, 500, 503}
	changeErrors := []int{401, 403, 404, 409, 422, 429, 500, 503}
	bodyErrors := append([]int{400, 408, 413, 415}, changeErrors...)
	write := func(op huma.Operation, errs []int) huma.Operation {
		op.Tags = []string{"schedules"}
		return operation(op, auth.SchedulesWrite, errs)
	}
	read := func(op huma.Operation) huma.Operation {
		op.Tags = []string{"schedules"}
		op = operation(op, auth.JobsRead, readErrors)
		alsoFor(&op, auth.SchedulesWrite)
		return op
	}

	huma.Register(a.huma, read(huma.Operation{
		OperationID: "list-schedules", Method: http.MethodGet, Path: "/schedules", Summary: "List schedules",
	}), handled(a, a.listSchedules))
	huma.Register(a.huma, read(huma.Operation{
		OperationID: "find-schedule", Method: http.MethodGet, Path: "/schedules/{name}", Summary: "Show a schedule with its next slots",
	}), handled(a, a.findSchedule))
	huma.Register(a.huma, read(huma.Operation{
		OperationID: "list-runs", Method: http.MethodGet, Path: "/schedules/{name}/runs", Summary: "Show a schedule's history, newest first",
		Description: "What each slot came to, and the runs by hand. It is kept 30 days.",
	}), handled(a, a.listRuns))

	create := write(huma.Operation{
		OperationID: "create-schedule", Method: http.MethodPost, Path: "/schedules", Summary: "Create a schedule", DefaultStatus: http.StatusCreated,
		Description: "Each slot makes one job. The answer shows the next five. A name that is taken is a 409.",
	}, bodyErrors)
	a.withBody(&create, maxBody)
	huma.Register(a.huma, create, handled(a, a.createSchedule))
	a.describeBody(create, a.scheduleBody.schema, scheduleExample)

	replace := write(huma.Operation{
		OperationID: "replace-schedule", Method: http.MethodPut, Path: "/schedules/{name}", Summary: "Replace a schedule, or create it",
		Description: "It takes effect within a second. A schedule of the timetable that is replaced is the API's from then on. " +
			"Without If-Match the last of two who change it at the same moment wins.",
	}, append([]int{412}, bodyErrors...))
	a.withBody(&replace, maxBody)
	huma.Register(a.huma, replace, handled(a, a.replaceSchedule))
	a.describeBody(replace, a.scheduleBody.schema, replaceExample)

	huma.Register(a.huma, write(huma.Operation{
		OperationID: "delete-schedule", Method: http.MethodDelete, Path: "/schedules/{name}", Summary: "Delete a schedule", DefaultStatus: http.StatusNoContent,
		Description: "Jobs that it has made stay. One of the timetable, built in or of the file, is a 409: pause it instead.",
	}, changeErrors), handled(a, a.deleteSchedule))
	huma.Register(a.huma, write(huma.Operation{
		OperationID: "pause-schedule", Method: http.MethodPost, Path: "/schedules/{name}/pause", Summary: "Pause a schedule",
	}, changeErrors), handled(a, onSchedule(a, audit.SchedulePause, Schedules.Pause)))
	huma.Register(a.huma, write(huma.Operation{
		OperationID: "resume-schedule", Method: http.MethodPost, Path: "/schedules/{name}/resume", Summary: "Resume a paused schedule",
		Description: "It goes on with its next slot: those of the pause are not made up for.",
	}, changeErrors), handled(a, onSchedule(a, audit.ScheduleResume, Schedules.Resume)))

	run := write(huma.Operation{
		OperationID: "run-schedule", Method: http.MethodPost, Path: "/schedules/{name}/run", Summary: "Make a job of a schedule now", DefaultStatus: http.StatusAccepted,
		Description: "Paused or not; its slots stay as they are.",
	}, changeErrors)
	huma.Register(a.huma, run, handled(a, func(ctx context.Context, in *runInput) (*acceptance, error) {
		var got job.Accepted
		err := a.audit.Steps(ctx, act(ctx, audit.ScheduleRun, in.Name), func(ctx context.Context) (n int, err error) {
			// The name tells this request from another under the same key.
			got, err = a.schedules.RunNow(ctx, in.Name, callerOf(ctx, run, in.Key, []byte(in.Name)))
			return len(got.Jobs), err
		})
		if err != nil {
			return nil, err
		}
		out := acceptedOne(got, "Job", "Job scheduled to run", timing{})
		return &out, nil
	}))
}
