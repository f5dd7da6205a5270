package dashboard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
)

const (
	// maxBulk bounds how many tasks one request acts on; of more the first
	// ones are taken, and the answer tells how many.
	maxBulk = 10_000
	// maxBulkBody bounds the list of a bulk request, in bytes.
	maxBulkBody = 1 << 20
	// bulkLimit bounds the time that one request takes.
	bulkLimit = 25 * time.Second
	// listStep is how many tasks are listed in one call.
	listStep = 500
	// actors act side by side.
	actors = 8
)

// The mutating routes of asynqmon v0.7.2 (its handler.go).
var (
	queueRoute = regexp.MustCompile(`^queues/([^/:]+)(:pause|:resume)?$`)
	oneRoute   = regexp.MustCompile(`^queues/([^/:]+)/([a-z]+)_tasks/([^/:]+)(?::([a-z]+))?$`)
	bulkRoute  = regexp.MustCompile(`^queues/([^/:]+)/([a-z]+)_tasks:(?:batch_([a-z]+)|([a-z]+)_all)$`)
)

// opsOf are what asynqmon lets do with tasks in a state.
var opsOf = map[string][]string{
	"active":    {opCancel},
	"pending":   {opDelete, opArchive},
	"scheduled": {opDelete, opArchive, opRun},
	"retry":     {opDelete, opArchive, opRun},
	"archived":  {opDelete, opRun},
	"completed": {opDelete},
}

const (
	opCancel  = "cancel"
	opDelete  = "delete"
	opArchive = "archive"
	opRun     = "run"
)

// taskActions are the audit's names of what is done with tasks.
var taskActions = map[string]audit.Action{
	opCancel: audit.TaskCancel, opDelete: audit.TaskDelete, opArchive: audit.TaskArchive, opRun: audit.TaskRun,
}

// write answers the requests of asynqmon's API that act. Those on queues are
// asynqmon's own; those on tasks are carried out here, since asynqmon would
// write to Redis alone. A route that is not known here is refused.
func (m *monitor) write(w http.ResponseWriter, r *http.Request, side monitorSide, api string) {
	if !userOf(r).Admin() {
		m.d.refuse(w, r, errViewer)
		return
	}
	defer m.answers.forget()
	ctx, cancel := context.WithTimeout(r.Context(), bulkLimit)
	defer cancel()
	r = r.WithContext(ctx)
	if route := queueRoute.FindStringSubmatch(api); route != nil {
		m.writeQueue(w, r, side, route[1])
		return
	}
	if route := oneRoute.FindStringSubmatch(api); route != nil {
		op := cmp.Or(route[4], opDelete)
		if allowed(r, route[2], op, r.Method == http.MethodDelete) {
			m.writeOne(w, r, route[1], route[3], op)
			return
		}
	}
	if route := bulkRoute.FindStringSubmatch(api); route != nil {
		op := cmp.Or(route[3], route[4])
		if allowed(r, route[2], op, r.Method == http.MethodDelete && route[4] != "") {
			m.writeBulk(w, r, bulk{queue: route[1], state: route[2], op: op, all: route[4] != ""})
			return
		}
	}
	m.d.refuse(w, r, job.Errorf(job.CodeNotFound, "Postrider does not know this action"))
}

// allowed reports whether asynqmon would know the action: DELETE goes with
// deleting one or all, POST with everything else.
func allowed(r *http.Request, state, op string, deletes bool) bool {
	if !slices.Contains(opsOf[state], op) {
		return false
	}
	return deletes && op == opDelete || r.Method == http.MethodPost
}

// writeQueue pauses, resumes or deletes a queue.
func (m *monitor) writeQueue(w http.ResponseWriter, r *http.Request, side monitorSide, queue string) {
	if r.Method == http.MethodDelete && slices.Contains(m.d.Queues, queue) {
		m.d.refuse(w, r, job.Errorf(job.CodeConflict, "queue %s is one of POSTRIDER_QUEUES: take it from there first", queue))
		return
	}
	action := audit.QueuePause
	switch {
	case r.Method == http.MethodDelete:
		action = audit.QueueDelete
	case strings.HasSuffix(r.URL.Path, ":resume"):
		action = audit.QueueResume
	}
	var got *recorded
	err := m.d.Audit.Steps(r.Context(), m.d.act(w, r, action, queue), audit.One(func(ctx context.Context) error {
		got = record(side.handler, r.WithContext(ctx))
		if got.status >= http.StatusBadRequest {
			return job.Errorf(job.CodeTemporary, "asynqmon answers %d", got.status)
		}
		return nil
	}))
	if got == nil { // it was not begun
		m.d.refuse(w, r, err)
		return
	}
	m.d.log.Info("a user acted on a queue", "user", userOf(r).Name, "action", action, "queue", queue, "status", got.status)
	got.replay(w)
}

func (m *monitor) writeOne(w http.ResponseWriter, r *http.Request, queue, taskID, op string) {
	err := m.d.Audit.Steps(r.Context(), m.d.act(w, r, taskActions[op], taskID), audit.One(func(ctx context.Context) error {
		return m.act(ctx, actor(userOf(r)), queue, taskID, op)
	}))
	if err != nil {
		m.d.refuse(w, r, err)
		return
	}
	m.d.log.Info("a user acted on a task", "user", userOf(r).Name, "op", op, "queue", queue, "task", taskID)
	w.WriteHeader(http.StatusNoContent)
}

// bulk is a request for many tasks.
type bulk struct {
	queue, state, op string
	all              bool // tasks in the state, not those that it lists
}

// The names that asynqmon's pages expect in its answers.
var (
	doneIDs   = map[string]string{opDelete: "deleted_ids", opRun: "pending_ids", opArchive: "archived_ids", opCancel: "canceled_ids"}
	failedIDs = map[string]string{opDelete: "failed_ids", opRun: "error_ids", opArchive: "error_ids", opCancel: "error_ids"}
	doneCount = map[string]string{opDelete: "deleted", opRun: "scheduled", opArchive: "archived", opCancel: "canceled"}
)

func (m *monitor) writeBulk(w http.ResponseWriter, r *http.Request, b bulk) {
	ids, err := m.idsOf(w, r, b)
	if err != nil {
		m.d.refuse(w, r, err)
		return
	}
	doing := m.d.act(w, r, taskActions[b.op], b.queue)
	doing.Detail, doing.Count = b.state, len(ids)
	var done, failed []string
	begun := false
	first := m.d.Audit.Steps(r.Context(), doing, func(ctx context.Context) (int, error) {
		begun = true
		done, failed, err = m.actOnAll(ctx, actor(userOf(r)), b, ids)
		return len(done), err
	})
	if !begun {
		m.d.refuse(w, r, first)
		return
	}
	m.d.log.Info("a user acted on tasks", "user", userOf(r).Name, "op", b.op, "queue", b.queue, "done", len(done), "failed", len(failed))
	if b.all && first != nil {
		status, message := m.d.told(r, first)
		http.Error(w, fmt.Sprintf("%d of %d tasks: %s", len(failed), len(ids), message), status)
		return
	}
	answer := map[string]any{doneCount[b.op]: len(done)}
	if !b.all {
		answer = map[string]any{doneIDs[b.op]: done, failedIDs[b.op]: failed}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a browser that has left needs no answer
}

// actOnAll acts on each of the tasks. The error is that of the first that failed.
func (m *monitor) actOnAll(ctx context.Context, by string, b bulk, ids []string) (done, failed []string, first error) {
	done, failed = []string{}, []string{} // not null in JSON
	var mu sync.Mutex
	eachOf(len(ids), actors, func(i int) {
		err := m.act(ctx, by, b.queue, ids[i], b.op)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if first == nil {
				first = err
			}
			failed = append(failed, ids[i])
			return
		}
		done = append(done, ids[i])
	})
	return done, failed, first
}

// idsOf lists the tasks that a bulk request is about.
func (m *monitor) idsOf(w http.ResponseWriter, r *http.Request, b bulk) ([]string, error) {
	if b.all {
		return m.listAll(r.Context(), b)
	}
	var body struct {
		TaskIDs []string `json:"task_ids"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBulkBody))
	if err := d.Decode(&body); err != nil {
		return nil, job.Errorf(job.CodeInvalid, "the body must be JSON with task_ids")
	}
	if len(body.TaskIDs) > maxBulk {
		return nil, job.Errorf(job.CodeInvalid, "task_ids holds more than %d", maxBulk)
	}
	return body.TaskIDs, nil
}

func (m *monitor) listAll(ctx context.Context, b bulk) ([]string, error) {
	look := inspector(ctx, m.d.Redis)
	list := map[string]func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
		"active": look.ListActiveTasks, "pending": look.ListPendingTasks, "scheduled": look.ListScheduledTasks,
		"retry": look.ListRetryTasks, "archived": look.ListArchivedTasks, "completed": look.ListCompletedTasks,
	}[b.state]
	var ids []string
	for page := 1; len(ids) < maxBulk; page++ {
		infos, err := list(b.queue, asynq.PageSize(listStep), asynq.Page(page))
		if err != nil {
			return nil, redisError(err)
		}
		for _, info := range infos {
			ids = append(ids, info.ID)
		}
		if len(infos) < listStep {
			break
		}
	}
	return ids, nil
}

// redisError gives an error of asynq's Inspector a code.
func redisError(err error) error {
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return job.Wrap(job.CodeNotFound, err, "Redis has no such task (any more)")
	}
	return job.Wrap(job.CodeTemporary, err, "Redis does not do that now")
}
