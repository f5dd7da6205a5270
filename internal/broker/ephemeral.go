package broker

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// FindEphemeral implements job.Dispatcher.
func (c *Client) FindEphemeral(ctx context.Context, id job.ID) (job.Job, error) {
	info, typ, err := c.findTask(ctx, id)
	if err != nil {
		return job.Job{}, err
	}
	j := ephemeralJob(id, typ, info)
	if info.State == asynq.TaskStateScheduled || info.State == asynq.TaskStateRetry {
		// asynq's Inspector cuts fractions of seconds off.
		if at, ok := c.dueScore(ctx, info.Queue, info.State.String(), info.ID); ok {
			j.RunAt = at
		}
	}
	return j, nil
}

// CancelEphemeral implements job.Dispatcher. A task that nobody has begun is
// deleted. One that runs is told to stop, by the same hint that durable jobs
// are: the server that has it ends its context and then deletes it. (What asynq
// has for that, CancelProcessing, would bring it again as a retry.)
func (c *Client) CancelEphemeral(ctx context.Context, id job.ID) error {
	info, _, err := c.findTask(ctx, id)
	if err != nil {
		return err
	}
	if info.State != asynq.TaskStateActive {
		err := inspector(ctx, c.rdb).DeleteTask(info.Queue, info.ID)
		if err == nil || gone(err) {
			return nil
		}
		// It may have been begun this moment; any other error the hint meets too.
	}
	if err := c.rdb.Publish(ctx, cancelChannel, string(id)).Err(); err != nil {
		return job.Wrap(job.CodeTemporary, err, "the queue cannot be reached")
	}
	return nil
}

// findTask looks in all queues for the task of an ephemeral job.
func (c *Client) findTask(ctx context.Context, id job.ID) (*asynq.TaskInfo, tasks.Type, error) {
	exists := make([]*redis.IntCmd, len(c.queues))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, q := range c.queues {
			exists[i] = p.Exists(ctx, taskKey(q, string(id)))
		}
		return nil
	})
	if err != nil {
		return nil, tasks.Type{}, job.Wrap(job.CodeTemporary, err, "the queue cannot be reached")
	}
	for i, q := range c.queues {
		if exists[i].Val() == 0 {
			continue
		}
		info, err := inspector(ctx, c.rdb).GetTaskInfo(q, string(id))
		if err != nil && !gone(err) {
			return nil, tasks.Type{}, job.Wrap(job.CodeTemporary, err, "the queue cannot be reached")
		}
		if err != nil {
			continue
		}
		// A durable job's task says nothing about the job.
		if typ, known := c.types.Lookup(info.Type); known && typ.Ephemeral {
			return info, typ, nil
		}
	}
	return nil, tasks.Type{}, job.Errorf(job.CodeNotFound, "no job has the id %q", string(id))
}

// ephemeralJob tells of a task in the domain's words.
func ephemeralJob(id job.ID, typ tasks.Type, info *asynq.TaskInfo) job.Job {
	j := job.Job{
		ID: id, Type: info.Type, Queue: info.Queue, Payload: info.Payload, Ephemeral: true,
		State: job.Waiting, CreatedAt: bornAt(id), Runs: info.Retried, Attempts: info.Retried,
		MaxAttempts: typ.MaxAttempts, OnAmbiguous: typ.OnAmbiguous, Message: info.LastErr,
	}
	j.RunAt, j.UpdatedAt = j.CreatedAt, j.CreatedAt
	if _, recipient, err := typ.Canonical(info.Payload); err == nil {
		j.Recipient = recipient
	}
	if !info.LastFailedAt.IsZero() {
		j.UpdatedAt = info.LastFailedAt
	}
	if j.Message != "" {
		j.Code = job.CodeTemporary
	}
	switch info.State {
	case asynq.TaskStateScheduled, asynq.TaskStateRetry:
		j.RunAt = info.NextProcessAt
	case asynq.TaskStateActive:
		j.State = job.Running
		j.Runs++
	case asynq.TaskStateArchived:
		// asynq does not count the failure that it archives a task for.
		j.State, j.Code, j.FinishedAt = job.Failed, job.CodePermanent, info.LastFailedAt
		j.Runs++
		j.Attempts++
	case asynq.TaskStateCompleted:
		j.State, j.FinishedAt = job.Done, info.CompletedAt
	}
	return j
}

// bornAt is the time in a job's id (RFC 9562 section 5.7), in milliseconds.
func bornAt(id job.ID) time.Time {
	u, err := uuid.Parse(string(id))
	if err != nil || u.Version() != 7 {
		return time.Time{}
	}
	seconds, nanos := u.Time().UnixTime()
	return time.Unix(seconds, nanos).Truncate(time.Millisecond).UTC()
}
