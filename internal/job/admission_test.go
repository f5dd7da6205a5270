package job_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

type admission func(ctx context.Context, jobs []*job.Candidate) error

func (f admission) Admit(ctx context.Context, jobs []*job.Candidate) error { return f(ctx, jobs) }

// byRecipient decides about each mail by its recipient's name.
func byRecipient(decide func(name string, c *job.Candidate)) job.Admission {
	return admission(func(_ context.Context, jobs []*job.Candidate) error {
		for _, c := range jobs {
			name, _, _ := strings.Cut(c.Payload.(*tasks.Email).Rcpt, "@")
			decide(name, c)
		}
		return nil
	})
}

func mailTo(name string) job.Submission {
	return job.Submission{Type: "email:send", Payload: []byte(`{"to":["` + name + `@example.com"],"subject":"s","text":"t"}`)}
}

func admitted(all ...job.Admission) func(*job.Options) {
	return func(o *job.Options) {
		o.Admissions = map[string]job.Admission{"email:send": job.Admissions(all)}
	}
}

func TestAdmission(t *testing.T) {
	later := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	asked := 0
	r := newRig(t, admitted(
		byRecipient(func(name string, c *job.Candidate) {
			asked++
			switch name {
			case "refused":
				c.Err = tasks.Invalid{{Field: "data.name", Problem: "must not be empty"}}
			case "unwanted":
				c.New.State, c.New.Message = job.Suppressed, "it bounced"
			case "asleep":
				c.New.RunAt, c.New.Message = later, "quiet hours"
			case "pinned":
				c.Payload.(*tasks.Email).Subject = "changed"
			}
		}),
		byRecipient(func(name string, c *job.Candidate) {
			if name == "refused" || name == "unwanted" {
				t.Errorf("%s is shown to the next", name)
			}
		}),
	))
	r.Start()
	got, err := r.AcceptEach(t.Context(), caller, []job.Submission{
		mailTo("refused"), mailTo("unwanted"), mailTo("asleep"), mailTo("pinned"), noop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if asked != 4 {
		t.Errorf("asked about %d jobs, want the four mails", asked)
	}
	var e *job.Error
	if !errors.As(got.Jobs[0].Err, &e) || e.Code != job.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Field != "payload.data.name" {
		t.Errorf("the refused one: %v", got.Jobs[0].Err)
	}
	for i, want := range []string{1: "suppressed", 2: "scheduled", 3: "queued", 4: "queued"} {
		if i > 0 && got.Jobs[i].Status != want {
			t.Errorf("job %d is answered %q, want %q", i, got.Jobs[i].Status, want)
		}
	}
	sent, err := r.redis.WaitSent(within(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range sent {
		if task.ID == got.Jobs[1].ID {
			t.Error("the suppressed job was dispatched")
		}
	}
	if j := r.find(t, got.Jobs[1].ID); j.State != job.Suppressed || j.Message != "it bounced" || j.FinishedAt.IsZero() {
		t.Errorf("the suppressed job is %+v", j)
	}
	if j := r.find(t, got.Jobs[2].ID); !j.RunAt.Equal(later) {
		t.Errorf("the job that was put off runs at %v, want %v", j.RunAt, later)
	}
	if j := r.find(t, got.Jobs[3].ID); !strings.Contains(string(j.Payload), `"changed"`) {
		t.Errorf("the payload is %s", j.Payload)
	}
	if err := r.Stop(within(t)); err != nil {
		t.Error(err)
	}
}

// What cannot be found out is not accepted, and what is kept for later is kept
// as it was given.
func TestAdmissionFails(t *testing.T) {
	away := job.Errorf(job.CodeTemporary, "the database cannot be reached")
	r := newRig(t, admitted(admission(func(context.Context, []*job.Candidate) error { return away })))
	if _, err := r.Accept(t.Context(), caller, mailTo("ann")); !errors.Is(err, away) {
		t.Errorf("accepting: %v", err)
	}
	if _, err := r.Prepare(t.Context(), mailTo("ann"), "schedule:s"); !errors.Is(err, away) {
		t.Errorf("preparing: %v", err)
	}
}

func TestCheckKeepsThePayload(t *testing.T) {
	r := newRig(t, admitted(byRecipient(func(name string, c *job.Candidate) {
		c.Payload.(*tasks.Email).Subject = "changed"
		if name == "refused" {
			c.Err = tasks.Invalid{{Field: "template", Problem: "is not known"}}
		}
	})))
	payload, err := r.Check(t.Context(), mailTo("ann"), "schedule:s")
	if err != nil || strings.Contains(string(payload), "changed") {
		t.Errorf("the payload is %s, %v", payload, err)
	}
	if n, err := r.Prepare(t.Context(), mailTo("ann"), "schedule:s"); err != nil || !strings.Contains(string(n.Payload), "changed") {
		t.Errorf("prepared %s, %v", n.Payload, err)
	}
	if _, err := r.Check(t.Context(), mailTo("refused"), "schedule:s"); job.CodeOf(err) != job.CodeInvalid {
		t.Errorf("checking: %v", err)
	}
}

// A repeated request is answered as it was the first time, whatever admission
// says of it by now.
func TestAdmissionOfARepeat(t *testing.T) {
	verdict, later := "queued", time.Now().Add(time.Hour).Truncate(time.Millisecond)
	r := newRig(t, admitted(byRecipient(func(_ string, c *job.Candidate) {
		switch verdict {
		case "suppressed":
			c.New.State, c.New.Message = job.Suppressed, "it bounced"
		case "refused":
			c.Err = tasks.Invalid{{Field: "attachments[0].id", Problem: "names no stored file"}}
		case "scheduled":
			c.New.RunAt = later
		}
	})))
	r.Start()
	for _, first := range []string{"queued", "suppressed", "scheduled"} {
		who := job.Caller{Name: "shop", IdempotencyKey: first, BodyHash: []byte("h")}
		verdict = first
		want, err := r.Accept(t.Context(), who, mailTo("ann"))
		if err != nil {
			t.Fatal(err)
		}
		for _, verdict = range []string{"queued", "suppressed", "scheduled", "refused"} {
			got, err := r.Accept(t.Context(), who, mailTo("ann"))
			if err != nil || !got.Replayed || got.Base != want.Base || len(got.Jobs) != 1 {
				t.Fatalf("%s at first, a repeat that would be %s: %+v, %v", first, verdict, got, err)
			}
			g, w := got.Jobs[0], want.Jobs[0]
			if g.ID != w.ID || g.Status != w.Status || g.Reason != w.Reason || g.RunAt.Sub(w.RunAt).Abs() > time.Millisecond {
				t.Errorf("%s at first, a repeat that would be %s is answered %+v, want %+v", first, verdict, g, w)
			}
		}
	}
	if err := r.Stop(within(t)); err != nil {
		t.Error(err)
	}
}

// What expires_at forbids by now was accepted then.
func TestRepeatAfterItsExpiry(t *testing.T) {
	r := newRig(t)
	who := job.Caller{Name: "shop", IdempotencyKey: "k", BodyHash: []byte("h")}
	sub := noop()
	sub.ExpiresAt = time.Now().Add(time.Hour)
	first, err := r.Accept(t.Context(), who, sub)
	if err != nil {
		t.Fatal(err)
	}
	sub.ExpiresAt = time.Now().Add(-time.Second)
	if again, err := r.Accept(t.Context(), who, sub); err != nil || again.Base != first.Base {
		t.Errorf("a repeat is answered %+v, %v", again, err)
	}
}

// forgetful knows a key when it is used again, and no more when it is asked
// what for.
type forgetful struct{ job.Store }

func (forgetful) Accept(context.Context, job.Request) (job.Receipt, error) {
	return job.Receipt{Base: job.NewID(), At: time.Now(), Replayed: true}, nil
}

func (forgetful) Replay(context.Context, job.IdempotencyKey) (job.Replay, bool, error) {
	return job.Replay{}, false, nil
}

// A key whose time ends between the two is no answer without jobs.
func TestRepeatAsItsKeyEnds(t *testing.T) {
	r := newRig(t, func(o *job.Options) { o.Store = forgetful{o.Store} })
	who := job.Caller{Name: "shop", IdempotencyKey: "k", BodyHash: []byte("h")}
	if got, err := r.Accept(t.Context(), who, noop()); job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("answered %+v, %v", got, err)
	}
}
