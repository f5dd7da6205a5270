package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// ephemeral is a job that lives in Redis alone.
func ephemeral(delay time.Duration) job.Submission {
	return job.Submission{Type: tasks.NoopEphemeral.Name, Delay: delay, Payload: []byte(`{"pad":"secret of user@example.com"}`)}
}

// taskRoute is where asynqmon acts on one task.
func taskRoute(state string, task job.Task, op string) string {
	return fmt.Sprintf("queues/%s/%s_tasks/%s%s", task.Queue, state, task.TaskID(), op)
}

func TestTaskDeletedIsAJobCancelled(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	for name, x := range map[string]struct {
		delay             time.Duration
		method, state, op string
	}{
		"delete pending":    {0, http.MethodDelete, "pending", ""},
		"delete scheduled":  {time.Hour, http.MethodDelete, "scheduled", ""},
		"archive pending":   {0, http.MethodPost, "pending", ":archive"},
		"archive scheduled": {time.Hour, http.MethodPost, "scheduled", ":archive"},
	} {
		t.Run(name, func(t *testing.T) {
			task := r.accept(mailTo("user@example.com", x.delay))
			c.api(x.method, taskRoute(x.state, task, x.op), "").want(t, http.StatusNoContent)
			r.wantState(task.ID, job.Cancelled)
			if e := r.lastEvent(task.ID); e.Kind != job.EventCancelled || e.Actor != "dashboard:ann" {
				t.Errorf("the last event is %+v", e)
			}
			if r.task(task.Queue, task.TaskID()) != nil {
				t.Error("the task is still in Redis")
			}
			c.api(x.method, taskRoute(x.state, task, x.op), "").want(t, http.StatusNotFound)
		})
	}
}

func TestTaskRunIsAJobRunNow(t *testing.T) {
	r := newRig(t)
	task := r.accept(mailTo("user@example.com", time.Hour))
	r.as("ann").api(http.MethodPost, taskRoute("scheduled", task, ":run"), "").want(t, http.StatusNoContent)
	j := r.wantState(task.ID, job.Waiting)
	if e := r.lastEvent(task.ID); e.Kind != job.EventRunNow || e.Actor != "dashboard:ann" {
		t.Errorf("the last event is %+v", e)
	}
	if r.task(task.Queue, task.TaskID()) != nil {
		t.Error("the task of the later time is still in Redis")
	}
	r.waitTask(j.Task())
	if got := r.task(task.Queue, j.Task().TaskID()); got.State != asynq.TaskStatePending || got.ID != string(task.ID)+"~2" {
		t.Errorf("the new task %s is %v", got.ID, got.State)
	}
}

// A task that is left over must not take the job with it.
func TestRemaindersOfAJob(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	look := asynq.NewInspectorFromRedisClient(r.rdb)

	t.Run("of one that is over", func(t *testing.T) {
		task := r.accept(mailTo("user@example.com", 0))
		r.run(task, job.Succeeded("250 ok"))
		c.api(http.MethodDelete, taskRoute("pending", task, ""), "").want(t, http.StatusNoContent)
		r.wantState(task.ID, job.Done)
		if r.task(task.Queue, task.TaskID()) != nil {
			t.Error("the task is still in Redis")
		}
	})
	t.Run("of one that is on its way by a later task", func(t *testing.T) {
		task := r.accept(mailTo("user@example.com", time.Hour))
		if err := look.ArchiveTask(task.Queue, task.TaskID()); err != nil { // by a bare asynq CLI
			t.Fatal(err)
		}
		j, err := r.jobs.RunNow(t.Context(), task.ID, "cli")
		if err != nil {
			t.Fatal(err)
		}
		r.waitTask(j.Task())
		c.api(http.MethodDelete, taskRoute("archived", task, ""), "").want(t, http.StatusNoContent)
		r.wantState(task.ID, job.Waiting)
		if r.task(task.Queue, task.TaskID()) != nil || r.task(task.Queue, j.Task().TaskID()) == nil {
			t.Error("not just the remainder is gone")
		}
	})
	t.Run("run of a failed one", func(t *testing.T) {
		task := r.accept(mailTo("user@example.com", 0))
		r.run(task, job.PermanentFailure("550 no"))
		if err := look.ArchiveTask(task.Queue, task.TaskID()); err != nil {
			t.Fatal(err)
		}
		c.api(http.MethodPost, taskRoute("archived", task, ":run"), "").want(t, http.StatusNoContent)
		if e := r.lastEvent(task.ID); e.Kind != job.EventRetried {
			t.Errorf("the last event is %+v", e)
		}
		r.wantSent(task.ID)
	})
	t.Run("run of one that is done", func(t *testing.T) {
		task := r.accept(mailTo("user@example.com", 0))
		r.run(task, job.Succeeded("250 ok"))
		if err := look.ArchiveTask(task.Queue, task.TaskID()); err != nil {
			t.Fatal(err)
		}
		c.api(http.MethodPost, taskRoute("archived", task, ":run"), "").want(t, http.StatusConflict, "done already")
		if got := r.task(task.Queue, task.TaskID()); got == nil || got.State != asynq.TaskStateArchived {
			t.Errorf("the task is %v", got)
		}
	})
}

func TestActiveTaskCancelledIsTheJobsCancellationAskedFor(t *testing.T) {
	r := newRig(t)
	task := r.accept(mailTo("user@example.com", 0))
	r.claim(task)
	r.as("ann").api(http.MethodPost, taskRoute("active", task, ":cancel"), "").want(t, http.StatusNoContent)
	if j := r.wantState(task.ID, job.Running); !j.CancelRequested {
		t.Error("the cancellation was not noted")
	}
}

func TestRedisIsNotTouchedWhileSQLIsAway(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	task := r.accept(mailTo("user@example.com", time.Hour))
	for _, op := range []string{"Find", "Change"} {
		r.store.Fail(op, job.Errorf(job.CodeTemporary, "the database is away"))
		c.api(http.MethodDelete, taskRoute("scheduled", task, ""), "").want(t, http.StatusServiceUnavailable, "the database is away")
		c.api(http.MethodDelete, "queues/email/scheduled_tasks:delete_all", "").want(t, http.StatusServiceUnavailable, "1 of 1 tasks: the database is away")
		r.store.Fail(op, nil)
		if r.task(task.Queue, task.TaskID()) == nil {
			t.Fatalf("without %s the task is gone from Redis", op)
		}
	}
	r.store.Fail("Change", errors.New("sql: a secret of the schema"))
	c.api(http.MethodDelete, taskRoute("scheduled", task, ""), "").want(t, http.StatusInternalServerError).lacks(t, "schema")
}

func TestEphemeralTasksAreAsynqs(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	gone, kept, soon := r.accept(ephemeral(time.Hour)), r.accept(ephemeral(time.Hour)), r.accept(ephemeral(time.Hour))
	c.api(http.MethodDelete, taskRoute("scheduled", gone, ""), "").want(t, http.StatusNoContent)
	c.api(http.MethodPost, taskRoute("scheduled", kept, ":archive"), "").want(t, http.StatusNoContent)
	c.api(http.MethodPost, taskRoute("scheduled", soon, ":run"), "").want(t, http.StatusNoContent)
	if r.task(gone.Queue, gone.TaskID()) != nil {
		t.Error("the deleted task is still there")
	}
	if got := r.task(kept.Queue, kept.TaskID()); got == nil || got.State != asynq.TaskStateArchived {
		t.Errorf("the archived task is %v", got)
	}
	if got := r.task(soon.Queue, soon.TaskID()); got == nil || got.State != asynq.TaskStatePending {
		t.Errorf("the task run is %v", got)
	}
}

func TestBulkActions(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	decode := func(got reply) map[string][]string {
		t.Helper()
		var ids map[string][]string
		if err := json.Unmarshal([]byte(got.body), &ids); err != nil {
			t.Fatalf("%s: %v", got.body, err)
		}
		return ids
	}
	batch := func(ids ...string) string {
		body, err := json.Marshal(map[string][]string{"task_ids": ids})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	t.Run("those listed", func(t *testing.T) {
		for op, names := range map[string][2]string{
			"delete": {"deleted_ids", "failed_ids"}, "archive": {"archived_ids", "error_ids"}, "run": {"pending_ids", "error_ids"},
		} {
			a, b, other := r.accept(mailTo("a@example.com", time.Hour)), r.accept(mailTo("b@example.com", time.Hour)), r.accept(mailTo("c@example.com", time.Hour))
			got := decode(c.api(http.MethodPost, "queues/email/scheduled_tasks:batch_"+op, batch(a.TaskID(), b.TaskID(), "missing")).want(t, http.StatusOK))
			slices.Sort(got[names[0]])
			if !slices.Equal(got[names[0]], []string{a.TaskID(), b.TaskID()}) || !slices.Equal(got[names[1]], []string{"missing"}) {
				t.Errorf("%s: %v", op, got)
			}
			want := job.Cancelled
			if op == "run" {
				want = job.Waiting
			}
			for _, task := range []job.Task{a, b} {
				r.wantState(task.ID, want)
				if r.task(task.Queue, task.TaskID()) != nil {
					t.Errorf("%s: a task is still there", op)
				}
			}
			if r.wantState(other.ID, job.Waiting); r.task(other.Queue, other.TaskID()) == nil {
				t.Errorf("%s: took a task that was not listed", op)
			}
		}
	})
	t.Run("all", func(t *testing.T) {
		var all []job.Task
		for i := range 30 {
			all = append(all, r.accept(job.Submission{Type: "noop", Delay: time.Hour, Payload: fmt.Appendf(nil, `{"pad":"%d"}`, i)}))
		}
		passing := r.accept(ephemeral(time.Hour))
		c.api(http.MethodPost, "queues/default/scheduled_tasks:run_all", "").want(t, http.StatusOK, `{"scheduled":31}`)
		if got := r.task(passing.Queue, passing.TaskID()); got == nil || got.State != asynq.TaskStatePending {
			t.Errorf("the ephemeral task is %v", got)
		}
		for _, task := range all {
			r.wantSent(task.ID)
		}
		c.api(http.MethodPost, "queues/default/pending_tasks:archive_all", "").want(t, http.StatusOK, `{"archived":31}`)
		for _, task := range all {
			r.wantState(task.ID, job.Cancelled)
		}
		c.api(http.MethodDelete, "queues/default/archived_tasks:delete_all", "").want(t, http.StatusOK, `{"deleted":1}`)
	})
	t.Run("bad bodies", func(t *testing.T) {
		for _, body := range []string{"", "{", `{"task_ids":"x"}`} {
			c.api(http.MethodPost, "queues/email/pending_tasks:batch_delete", body).want(t, http.StatusUnprocessableEntity, "task_ids")
		}
	})
}

func TestUnknownActionsAreRefused(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	task := r.accept(mailTo("user@example.com", time.Hour))
	for _, x := range [][2]string{
		{http.MethodPost, taskRoute("scheduled", task, ":cancel")},
		{http.MethodPost, taskRoute("pending", task, ":run")},
		{http.MethodPut, taskRoute("scheduled", task, "")},
		{http.MethodDelete, taskRoute("scheduled", task, ":archive")},
		{http.MethodDelete, "queues/email/groups/g/aggregating_tasks:delete_all"},
		{http.MethodDelete, "queues/email/scheduled_tasks:batch_delete"},
		{http.MethodPost, "queues/email/scheduled_tasks:explode_all"},
		{http.MethodPost, "anything"},
	} {
		c.api(x[0], x[1], `{"task_ids":[]}`).want(t, http.StatusNotFound)
	}
	c.do(http.MethodPost, queueRoot, "", "").want(t, http.StatusNotFound)
	r.wantState(task.ID, job.Waiting)
	if r.task(task.Queue, task.TaskID()) == nil {
		t.Error("the task is gone")
	}
}

func TestQueuesPauseAndStay(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	r.accept(mailTo("user@example.com", time.Hour))
	c.api(http.MethodGet, "queues", "").want(t, http.StatusOK, `"paused":false`)
	c.api(http.MethodPost, "queues/email:pause", "").want(t, http.StatusNoContent)
	// At once: what was kept of the answer before is forgotten.
	c.api(http.MethodGet, "queues", "").want(t, http.StatusOK, `"paused":true`)
	c.get("/admin").want(t, http.StatusOK, "paused")
	c.api(http.MethodPost, "queues/email:resume", "").want(t, http.StatusNoContent)
	c.api(http.MethodGet, "queues", "").want(t, http.StatusOK, `"paused":false`)
	c.api(http.MethodDelete, "queues/email", "").want(t, http.StatusConflict, "POSTRIDER_QUEUES")
}

func TestViewersReadOnly(t *testing.T) {
	r := newRig(t)
	bob := r.as("bob")
	task := r.accept(mailTo("user@example.com", time.Hour))
	passing := r.accept(ephemeral(time.Hour))
	for _, x := range [][3]string{
		{http.MethodPost, "queues/email:pause"},
		{http.MethodDelete, "queues/email"},
		{http.MethodDelete, taskRoute("scheduled", task, "")},
		{http.MethodPost, taskRoute("scheduled", task, ":run")},
		{http.MethodDelete, "queues/email/scheduled_tasks:delete_all"},
		{http.MethodPost, "queues/email/scheduled_tasks:batch_delete", `{"task_ids":["` + task.TaskID() + `"]}`},
	} {
		bob.api(x[0], x[1], x[2]).want(t, http.StatusForbidden, "viewers")
	}
	r.wantState(task.ID, job.Waiting)
	bob.get(queueRoot).want(t, http.StatusOK, `FLAG_READ_ONLY="true"`)

	ann := r.as("ann")
	for _, path := range []string{"queues/email/scheduled_tasks", "queues/email/tasks/" + task.TaskID()} {
		ann.api(http.MethodGet, path, "").want(t, http.StatusOK, "to user@example.com", "Welcome to the shop", "scheduled")
		bob.api(http.MethodGet, path, "").want(t, http.StatusOK, "to u***@example.com").lacks(t, "user@", "Welcome")
	}
	ann.api(http.MethodGet, "queues/default/scheduled_tasks", "").want(t, http.StatusOK, "secret of user@example.com")
	bob.api(http.MethodGet, "queues/default/scheduled_tasks", "").want(t, http.StatusOK, passing.TaskID(), "hidden").lacks(t, "secret", "user@")
}

func TestSummariesWithoutTheDatabase(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	task := r.accept(mailTo("user@example.com", time.Hour))
	r.store.Fail("Find", job.Errorf(job.CodeTemporary, "away"))
	c.api(http.MethodGet, "queues/email/scheduled_tasks", "").want(t, http.StatusOK, task.TaskID(), `"payload":""`)
}

func TestAnswersAreBounded(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	for range largestPage + 5 {
		r.accept(job.Submission{Type: "noop", Delay: time.Hour})
	}
	got := c.api(http.MethodGet, "queues/default/scheduled_tasks?size=100000", "").want(t, http.StatusOK)
	if n := strings.Count(got.body, `"max_retry"`); n != largestPage {
		t.Errorf("%d tasks in one answer, want %d", n, largestPage)
	}
	c.api(http.MethodGet, "metrics", "").want(t, http.StatusNotFound)
}

func TestMonitorPages(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	page := c.get(queueRoot+"/queues/email").want(t, http.StatusOK, "/admin/queues/static/js/").lacks(t, "https://fonts", noncePlace)
	policy := page.header.Get("Content-Security-Policy")
	if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "script-src 'self' 'sha256-") {
		t.Errorf("the policy is %s", policy)
	}
	if other := c.get(queueRoot).header.Get("Content-Security-Policy"); other == policy {
		t.Error("the nonce is the same twice")
	}
	static := c.get(queueRoot+"/static/js/main.5adda2da.chunk.js").want(t, http.StatusOK)
	if kind := static.header.Get("Content-Type"); kind != "text/javascript; charset=utf-8" {
		t.Errorf("a script is served as %s", kind)
	}
	c.get(queueRoot+"/static/missing.js").want(t, http.StatusNotFound)
	r.anonymous().get(queueRoot+"/static/js/main.5adda2da.chunk.js").want(t, http.StatusSeeOther)
}

func TestMonitorWithoutRedis(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	task := r.accept(mailTo("user@example.com", time.Hour))
	r.redis.Stop()
	c.api(http.MethodGet, "queues", "").want(t, http.StatusInternalServerError)
	c.api(http.MethodDelete, taskRoute("scheduled", task, ""), "").want(t, http.StatusServiceUnavailable, "Redis does not do that now")
	c.get("/admin").want(t, http.StatusOK, "Redis does not answer")
	// The job's own page acts all the same.
	c.post("/admin/jobs/"+string(task.ID)+"/cancel", nil).want(t, http.StatusSeeOther)
	r.wantState(task.ID, job.Cancelled)
	testkit.WaitFor(t, patience, "the log tells", func() bool { return r.log.Count("Redis does not do that now") > 0 })
}

// The one-process mode runs on miniredis, which must know all that asynqmon asks.
func TestMonitorOnEmbeddedRedis(t *testing.T) {
	at, stop, err := broker.Embedded(testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	r := newRigAt(t, at)
	c := r.as("ann")
	task := r.accept(mailTo("user@example.com", time.Hour))
	for _, path := range []string{
		"queues", "queues/email", "queue_stats", "queues/email/scheduled_tasks", "queues/email/tasks/" + task.TaskID(),
		"servers", "scheduler_entries", "redis_info",
	} {
		c.api(http.MethodGet, path, "").want(t, http.StatusOK)
	}
	c.get("/admin").want(t, http.StatusOK).lacks(t, "Redis does not answer")
	c.api(http.MethodDelete, taskRoute("scheduled", task, ""), "").want(t, http.StatusNoContent)
	r.wantState(task.ID, job.Cancelled)
}
