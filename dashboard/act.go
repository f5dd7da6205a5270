package dashboard

import (
	"context"

	"github.com/postrider/postrider/internal/job"
)

// act carries out one action on one task. Of a durable job the domain decides,
// in SQL; its task is only the carrier, and leaves Redis when it has nothing
// left to carry. Everything else is asynq's: an ephemeral task is all there is
// of its job.
func (m *monitor) act(ctx context.Context, by, queue, taskID, op string) error {
	id, dispatch, notOurs := job.ParseTaskID(taskID)
	if op == opCancel {
		// Not asynq's CancelProcessing where the domain knows the job: asynq
		// would bring the task again as a retry.
		if notOurs == nil {
			if _, err := m.d.Jobs.Cancel(ctx, id, by); job.CodeOf(err) != job.CodeNotFound {
				return err
			}
		}
		return m.actInRedis(ctx, queue, taskID, op)
	}
	info, err := inspector(ctx, m.d.Redis).GetTaskInfo(queue, taskID)
	if err != nil {
		return redisError(err)
	}
	if notOurs != nil || len(info.Payload) > 0 {
		return m.actInRedis(ctx, queue, taskID, op)
	}
	j, err := m.d.Jobs.Find(ctx, id)
	switch {
	case job.CodeOf(err) == job.CodeNotFound:
		return m.actInRedis(ctx, queue, taskID, op) // retention took the job
	case err != nil:
		return err
	}
	acted, err := m.actOnJob(ctx, by, &j, dispatch, op)
	if err != nil {
		return err
	}
	if err := m.actInRedis(ctx, queue, taskID, opDelete); err != nil && !acted {
		return err
	}
	return nil // a task that stays though the domain acted is refused at its claim
}

// actOnJob is an action on a durable task in the domain's words; false where
// there was nothing to say.
func (m *monitor) actOnJob(ctx context.Context, by string, j *job.Job, dispatch int, op string) (acted bool, err error) {
	switch {
	case op == opRun && j.State == job.Waiting:
		_, err = m.d.Jobs.RunNow(ctx, j.ID, by)
	case op == opRun:
		_, err = m.d.Jobs.Retry(ctx, j.ID, by)
	case j.State.Final() || dispatch < j.Dispatches:
		// The task is a remainder: the job is over, or on its way by a later one.
		return false, nil
	default:
		_, err = m.d.Jobs.Cancel(ctx, j.ID, by)
	}
	return err == nil, err
}

// actInRedis does what asynqmon's own handlers do.
func (m *monitor) actInRedis(ctx context.Context, queue, taskID, op string) error {
	asynq := inspector(ctx, m.d.Redis)
	var err error
	switch op {
	case opDelete:
		err = asynq.DeleteTask(queue, taskID)
	case opRun:
		err = asynq.RunTask(queue, taskID)
	case opArchive:
		err = asynq.ArchiveTask(queue, taskID)
	case opCancel:
		err = asynq.CancelProcessing(taskID)
	}
	if err != nil {
		return redisError(err)
	}
	return nil
}
