package work

import (
	"context"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Turner sees to the slots of schedules that are due; schedule.Service does.
type Turner interface {
	Turn(ctx context.Context) error
}

// Tick has the timetable looked at. A failure is none of the tick's: the
// schedulers look at it themselves, each second.
func Tick(timetable Turner) Binding {
	return On(tasks.ScheduleTick, func(ctx context.Context, run *Run, t *tasks.Tick) job.Outcome {
		if err := timetable.Turn(ctx); err != nil {
			run.Log.Debug("looking at the timetable failed", "schedule", t.Schedule, "err", err)
		}
		return job.Succeeded("looked at the timetable")
	})
}

// Timetabled binds the handlers of the job types that the timetable runs.
func Timetabled(jobs Accepter, h Housekeeping, timetable Turner, rooms Archiver) []Binding {
	return []Binding{Reminder(jobs), Cleanup(h), Tick(timetable), ChatArchive(rooms)}
}
