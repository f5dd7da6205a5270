package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// maxWait bounds how long GET /jobs/{id} waits for a job to end.
const maxWait = 60 * time.Second

// readWait reads the parameter wait.
func readWait(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxWait {
		return 0, job.Invalid(tasks.Invalid{{Field: "wait", Problem: "must be a duration from 0s to 60s, such as 10s"}})
	}
	return d, nil
}

// awaitEnd returns the job once it is final, or as it is when the time is over
// or this process stops. Nobody tells when an ephemeral job ends: it is returned
// as it is.
func (a *api) awaitEnd(ctx context.Context, id job.ID, wait time.Duration) (job.Job, error) {
	j, err := a.jobs.Find(ctx, id)
	if err != nil || wait == 0 || j.State.Final() || j.Ephemeral {
		return j, err
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := a.followJob(waiting, id); err != nil {
		return job.Job{}, err
	}
	return a.jobs.Find(ctx, id)
}

// followJob returns when the job has become final, when ctx ends, or when this
// process stops.
func (a *api) followJob(ctx context.Context, id job.ID) error {
	follower, err := a.feed.Follow(ctx, -1)
	if err != nil {
		return unlessOver(ctx, err)
	}
	defer follower.Close()
	// What happened before the place that is followed from, the row shows.
	if j, err := a.jobs.Find(ctx, id); err == nil && j.State.Final() {
		return nil
	}
	for {
		events, err := follower.Next(ctx)
		if err != nil {
			return unlessOver(ctx, err)
		}
		for i := range events {
			if events[i].Job == id && events[i].State.Final() {
				return nil
			}
		}
	}
}

// unlessOver is err unless it says that the waiting is over.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, job.ErrFeedClosed) {
		return nil
	}
	return err
}
