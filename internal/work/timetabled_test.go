package work

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// chores is a Housekeeping whose parts hold what is to be deleted.
type chores struct {
	jobs, inbox, archive, files, chat, audit    int // left
	once                                        func(ctx context.Context, what string) error
	keep                                        job.Retention
	inboxKeep, archiveKeep, chatKeep, auditKeep time.Duration
	after                                       []string // of the inboxes
}

func (c *chores) take(ctx context.Context, what string, left *int, limit int) (int, error) {
	if c.once != nil {
		if err := c.once(ctx, what); err != nil {
			return 0, err
		}
	}
	n := min(*left, limit)
	*left -= n
	return n, nil
}

func (c *chores) Purge(ctx context.Context, keep job.Retention, limit int) (int, error) {
	c.keep = keep
	return c.take(ctx, "jobs", &c.jobs, limit)
}

func (c *chores) PruneOld(ctx context.Context, keep time.Duration, after string, limit int) (int, string, error) {
	c.inboxKeep, c.after = keep, append(c.after, after)
	n, err := c.take(ctx, "inboxes", &c.inbox, limit)
	return n, fmt.Sprintf("stream-%d", len(c.after)), err
}

func (c *chores) TrimArchived(ctx context.Context, keep time.Duration, limit int) (int, error) {
	c.archiveKeep = keep
	return c.take(ctx, "archive", &c.archive, limit)
}

func (c *chores) PruneMessages(ctx context.Context, keep time.Duration, limit int) (int, error) {
	c.chatKeep = keep
	return c.take(ctx, "chats", &c.chat, limit)
}

func (c *chores) PruneFiles(ctx context.Context, limit int) (int, error) {
	return c.take(ctx, "files", &c.files, limit)
}

func (c *chores) PruneAudit(ctx context.Context, keep time.Duration, limit int) (int, error) {
	c.auditKeep = keep
	return c.take(ctx, "audit", &c.audit, limit)
}

var retention = job.Retention{Done: time.Hour, Bodies: time.Minute, Failed: 2 * time.Hour}

func newChores(t *testing.T, c *chores) *rig {
	return newRigOver(t, newStore(), done, Cleanup(Housekeeping{Jobs: c, Retention: retention, Inboxes: c, Chats: c, Archive: c, Files: c, Audit: c, KeepAudit: 1000 * time.Hour}))
}

func TestCleanup(t *testing.T) {
	c := &chores{jobs: 1200, inbox: 501, archive: 3, files: 700, chat: 502, audit: 503}
	r := newChores(t, c)
	task := r.accept(tasks.MaintenanceCleanup.Type, tasks.Cleanup{InboxDays: 30})
	if v := r.Handle(t.Context(), task); !isAck(v) {
		t.Fatalf("verdict %+v", v)
	}
	if j := r.find(task.ID); j.State != job.Done || j.Message != "deleted 1200 jobs, 501 notifications, 502 chat messages, 700 files, 503 records of the audit, 3 archived tasks" {
		t.Errorf("the job is %s: %s", j.State, j.Message)
	}
	if c.jobs+c.inbox+c.archive+c.files+c.chat+c.audit != 0 || c.auditKeep != 1000*time.Hour || c.chatKeep != 365*24*time.Hour || c.keep != retention || c.inboxKeep != 30*24*time.Hour || c.archiveKeep != 7*24*time.Hour || strings.Join(c.after, " ") != " stream-1" {
		t.Errorf("it was done as %+v", c)
	}
}

// TestCleanupTakesTurns gives its worker back after a while and goes on later.
func TestCleanupTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chores{jobs: 20 * cleanupBatch}
		c.once = func(context.Context, string) error { time.Sleep(time.Second); return nil }
		r := newChores(t, c)
		task := r.accept(tasks.MaintenanceCleanup.Type, tasks.Cleanup{})
		v := r.Handle(t.Context(), task)
		if j := r.find(task.ID); !v.Again || j.State != job.Waiting || j.Attempts != 0 || !strings.Contains(j.Message, "there are more") {
			t.Fatalf("verdict %+v, the job is %s after %d attempts: %s", v, j.State, j.Attempts, j.Message)
		}
		time.Sleep(v.After)
		if v := r.Handle(t.Context(), task); !isAck(v) || r.find(task.ID).State != job.Done || c.jobs != 0 {
			t.Errorf("verdict %+v, %d jobs left", v, c.jobs)
		}
	})
}

// TestCleanupFails does what it can, and is tried again for the rest.
func TestCleanupFails(t *testing.T) {
	c := &chores{jobs: 10, archive: 10}
	c.once = func(_ context.Context, what string) error {
		if what == "inboxes" {
			return errors.New("the database is away")
		}
		return nil
	}
	r := newChores(t, c)
	task := r.accept(tasks.MaintenanceCleanup.Type, tasks.Cleanup{})
	v := r.Handle(t.Context(), task)
	if j := r.find(task.ID); !v.Again || j.State != job.Waiting || j.Code != job.CodeTemporary || !strings.Contains(j.Message, "deleting notifications: the database is away") {
		t.Errorf("verdict %+v, the job is %s: %s", v, j.State, j.Message)
	}
	if c.jobs+c.archive != 0 {
		t.Errorf("%d jobs and %d archived tasks are left", c.jobs, c.archive)
	}
}

func TestCleanupInterrupted(t *testing.T) {
	c := &chores{jobs: 10}
	r := newChores(t, c)
	c.once = func(ctx context.Context, _ string) error {
		hurry, cancel := context.WithCancel(context.Background())
		cancel()
		go func() { _ = r.Shutdown(hurry) }()
		<-ctx.Done()
		return ctx.Err()
	}
	task := r.accept(tasks.MaintenanceCleanup.Type, tasks.Cleanup{})
	r.Handle(t.Context(), task)
	if j := r.find(task.ID); j.State != job.Waiting || j.Attempts != 0 {
		t.Errorf("the job is %s after %d attempts: %s", j.State, j.Attempts, j.Message)
	}
}

// newReminders is a worker and the service that its reminders go to, over one
// store.
func newReminders(t *testing.T) *rig {
	t.Helper()
	s := newStore()
	types, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		t.Fatal(err)
	}
	disp := jobtest.NewDispatcher()
	jobs := job.NewService(job.Options{
		Store: s, Dispatcher: disp, Types: types, Queues: []string{"email"}, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	jobs.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := jobs.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return newRigOver(t, s, done, Reminder(jobs))
}

func (r *rig) mails() []job.Job {
	r.t.Helper()
	all, err := r.store.List(context.Background(), job.Filter{Type: tasks.EmailSend.Name, Limit: 100})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// TestReminder mails each recipient once, though its worker dies before it has
// recorded that.
func TestReminder(t *testing.T) {
	r := newReminders(t)
	task := r.accept(tasks.EmailReminder.Type, tasks.Reminder{Recipients: []string{"ann@example.com", "Bob <bob@example.com>"}, Subject: "Stand up"})
	settled := 0
	r.store.on("Settle", func(context.Context) error {
		if settled++; settled == 1 {
			r.alter(task.ID, bury)
		}
		return nil
	})
	for range 2 {
		r.alter(task.ID, func(j *job.Job, now time.Time) { j.RunAt = now })
		r.Handle(t.Context(), task)
	}
	j := r.find(task.ID)
	if j.State != job.Done || j.Runs != 2 || !strings.HasPrefix(j.Message, "2 mails accepted") {
		t.Errorf("the reminder is %s after %d runs: %s", j.State, j.Runs, j.Message)
	}
	mails := r.mails()
	if len(mails) != 2 || mails[0].Batch != mails[1].Batch || mails[0].Recipient+" "+mails[1].Recipient != "bob@example.com ann@example.com" {
		t.Fatalf("the mails are %+v", mails)
	}
	if m := r.find(mails[0].ID); m.AcceptedBy != "email:reminder" || !strings.Contains(string(m.Payload), `"subject":"Stand up","text":"This is your daily reminder."`) {
		t.Errorf("a mail is %s by %s", m.Payload, m.AcceptedBy)
	}
}

type accepter func() (job.Accepted, error)

func (a accepter) AcceptAll(context.Context, job.Caller, []job.Submission) (job.Accepted, error) {
	return a()
}

func TestReminderRefused(t *testing.T) {
	for code, want := range map[job.Code]job.State{
		job.CodeInvalid: job.Failed, job.CodeConflict: job.Failed, job.CodeTemporary: job.Waiting, job.CodeInternal: job.Waiting,
	} {
		r := newRigOver(t, newStore(), done, Reminder(accepter(func() (job.Accepted, error) {
			return job.Accepted{}, job.Errorf(code, "no")
		})))
		task := r.accept(tasks.EmailReminder.Type, tasks.Reminder{Recipients: []string{"ann@example.com"}})
		r.Handle(t.Context(), task)
		if j := r.find(task.ID); j.State != want || j.Attempts != 1 {
			t.Errorf("after %s the job is %s after %d attempts", code, j.State, j.Attempts)
		}
	}
}

type turner func(context.Context) error

func (f turner) Turn(ctx context.Context) error { return f(ctx) }

// TestTick looks at the timetable, and is done with whatever comes of that.
func TestTick(t *testing.T) {
	for _, err := range []error{nil, errAway} {
		turns := 0
		r := newRigOver(t, newStore(), done, Tick(turner(func(context.Context) error { turns++; return err })))
		task := job.Task{ID: job.NewID(), Type: tasks.ScheduleTick.Name, Queue: "maintenance", Payload: []byte(`{"schedule":"s"}`)}
		if v := r.Handle(t.Context(), task); !isAck(v) || turns != 1 {
			t.Errorf("verdict %+v after %d turns", v, turns)
		}
	}
}

// TestTimetabled holds that every type of the built-in timetable has a handler.
func TestTimetabled(t *testing.T) {
	var names []string
	for _, b := range append(Builtin(Mail{}), Timetabled(nil, Housekeeping{}, nil, nil)...) {
		names = append(names, b.name)
	}
	for _, typ := range tasks.Builtin() {
		if !strings.Contains(strings.Join(names, " "), typ.Name) {
			t.Errorf("%s has no handler", typ.Name)
		}
	}
}
