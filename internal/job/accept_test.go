package job_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// fields names the bad fields that an error tells of.
func fields(err error) []string {
	var e *job.Error
	var out []string
	if errors.As(err, &e) {
		for _, f := range e.Fields {
			out = append(out, f.Field)
		}
	}
	slices.Sort(out)
	return out
}

func TestAcceptNamesEachBadField(t *testing.T) {
	keyed := func(key string) job.Caller { return job.Caller{Name: "shop", IdempotencyKey: key} }
	with := func(f func(*job.Submission)) job.Submission { s := noop(); f(&s); return s }
	for _, c := range []struct {
		name string
		who  job.Caller
		sub  job.Submission
		want []string
	}{
		{"type", caller, job.Submission{Type: "nothing:such"}, []string{"type"}},
		{"no type", caller, job.Submission{}, []string{"type"}},
		{"queue", caller, with(func(s *job.Submission) { s.Queue = "nowhere" }), []string{"queue"}},
		{"negative delay", caller, with(func(s *job.Submission) { s.Delay = -1 }), []string{"delay"}},
		{"long delay", caller, with(func(s *job.Submission) { s.Delay = job.MaxDelay + 1 }), []string{"delay"}},
		{"delay and time", caller, with(func(s *job.Submission) { s.Delay, s.RunAt = 1, time.Now() }), []string{"delay"}},
		{"far time", caller, with(func(s *job.Submission) { s.RunAt = time.Now().Add(job.MaxDelay + time.Hour) }), []string{"run_at"}},
		{"past expiry", caller, with(func(s *job.Submission) { s.ExpiresAt = time.Now().Add(-time.Second) }), []string{"expires_at"}},
		{"expiry before it runs", caller, with(func(s *job.Submission) { s.Delay, s.ExpiresAt = time.Hour, time.Now().Add(time.Minute) }), []string{"expires_at"}},
		{"payload", caller, with(func(s *job.Submission) { s.Payload = []byte(`{"sleep_ms":-1}`) }), []string{"payload.sleep_ms"}},
		{"payload's field", caller, with(func(s *job.Submission) { s.Payload = []byte(`{"nap":1}`) }), []string{"payload.nap"}},
		{"payload's form", caller, with(func(s *job.Submission) { s.Payload = []byte(`{`) }), []string{"payload"}},
		{"payload's size", caller, with(func(s *job.Submission) {
			s.Payload = []byte(`{"pad":"` + strings.Repeat("x", tasks.MaxPayload) + `"}`)
		}), []string{"payload"}},
		{"long key", keyed(strings.Repeat("k", 256)), noop(), []string{"Idempotency-Key"}},
		{"odd key", keyed("k\r\n"), noop(), []string{"Idempotency-Key"}},
		{"foreign key", keyed("schlüssel"), noop(), []string{"Idempotency-Key"}},
		{"key of an ephemeral job", keyed("k"), job.Submission{Type: "noop:ephemeral"}, []string{"Idempotency-Key"}},
		{"expiry of an ephemeral job", caller, job.Submission{Type: "noop:ephemeral", ExpiresAt: time.Now().Add(time.Hour)}, []string{"expires_at"}},
		{"several", caller, job.Submission{Type: "email:send", Queue: "nowhere", Delay: -1, Payload: []byte(`{"to":["x"],"subject":"a\nb"}`)},
			[]string{"delay", "payload.subject", "payload.text", "payload.to[0]", "queue"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			_, err := r.Accept(t.Context(), c.who, c.sub)
			if got := fields(err); job.CodeOf(err) != job.CodeInvalid || !slices.Equal(got, c.want) {
				t.Errorf("the error is %v (%v), want fields %v", err, got, c.want)
			}
			if all, _ := r.List(t.Context(), job.Filter{Limit: 10}); len(all) != 0 {
				t.Errorf("%d jobs were written", len(all))
			}
		})
	}
}

func TestAcceptBoundsABatch(t *testing.T) {
	r := newRig(t)
	for _, n := range []int{0, job.MaxBatch + 1} {
		if _, err := r.AcceptEach(t.Context(), caller, make([]job.Submission, n)); !slices.Equal(fields(err), []string{"jobs"}) {
			t.Errorf("%d jobs: %v", n, err)
		}
	}
}

func TestAcceptOne(t *testing.T) {
	r := newRig(t)
	got, err := r.Accept(t.Context(), caller, job.Submission{
		Type: "email:send", Payload: []byte(`{"to":["Ann@Example.org"],"subject":"Hi","text":"there"}`),
		Delay: time.Minute, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	a := got.Jobs[0]
	if a.ID != got.Base || a.Queue != "email" || a.Status != "scheduled" || !a.RunAt.Equal(got.At.Add(time.Minute)) {
		t.Errorf("the answer is %+v of %+v", a, got)
	}
	j := r.find(t, a.ID)
	if j.Batch != "" || j.Recipient != "ann@example.org" || j.MaxAttempts != tasks.EmailSend.MaxAttempts || j.AcceptedBy != "shop" {
		t.Errorf("the job is %+v", j)
	}
	if !strings.Contains(string(j.Payload), `"rcpt":"Ann@example.org"`) {
		t.Errorf("the payload %s is not canonical", j.Payload)
	}
}

func TestAcceptAllIsAllOrNone(t *testing.T) {
	r := newRig(t)
	if _, err := r.AcceptAll(t.Context(), caller, []job.Submission{noop(), {Type: "none"}}); !slices.Equal(fields(err), []string{"type"}) {
		t.Errorf("the error is %v", err)
	}
	ephemeral := job.Submission{Type: "noop:ephemeral"}
	for _, subs := range [][]job.Submission{{noop(), ephemeral}, {ephemeral, ephemeral}} {
		if _, err := r.AcceptAll(t.Context(), caller, subs); !slices.Equal(fields(err), []string{"type"}) {
			t.Errorf("with an ephemeral job the error is %v", err)
		}
	}
	if all, _ := r.List(t.Context(), job.Filter{Limit: 10}); len(all) != 0 || len(r.redis.Sent()) != 0 {
		t.Errorf("%d jobs were written, %d sent", len(all), len(r.redis.Sent()))
	}
	if _, err := r.AcceptAll(t.Context(), caller, []job.Submission{ephemeral}); err != nil || len(r.redis.Sent()) != 1 {
		t.Errorf("an ephemeral job alone: %v, %d sent", err, len(r.redis.Sent()))
	}
}

// TestAcceptEachKeepsPlaces proves that refused jobs count in the ids, so that
// a replayed request finds the same ones.
func TestAcceptEachKeepsPlaces(t *testing.T) {
	r := newRig(t)
	refused := job.Errorf(job.CodeInvalid, "refused before")
	subs := []job.Submission{{Type: "none"}, noop(), {Err: refused}, noop()}
	who := job.Caller{Name: "shop", IdempotencyKey: "k", BodyHash: []byte("h")}
	first, err := r.AcceptEach(t.Context(), who, subs)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range first.Jobs {
		if accepted := i%2 == 1; accepted != (a.Err == nil) || accepted && a.ID != first.Base.Plus(i+1) || !accepted && a.ID != "" {
			t.Errorf("place %d is %+v", i, a)
		}
	}
	if !errors.Is(first.Jobs[2].Err, refused) {
		t.Errorf("the error is %v, want the caller's own", first.Jobs[2].Err)
	}
	if j := r.find(t, first.Jobs[3].ID); j.Batch != first.Base {
		t.Errorf("its batch is %q, want %s", j.Batch, first.Base)
	}

	again, err := r.AcceptEach(t.Context(), who, subs)
	if err != nil || !again.Replayed || fmt.Sprint(again.Jobs) != fmt.Sprint(first.Jobs) {
		t.Errorf("replayed it is %+v, %v, the first time %+v", again, err, first)
	}
	who.BodyHash = []byte("other")
	if _, err := r.AcceptEach(t.Context(), who, subs); job.CodeOf(err) != job.CodeConflict {
		t.Errorf("with another body: %v", err)
	}
	if all, _ := r.List(t.Context(), job.Filter{Limit: 10}); len(all) != 2 {
		t.Errorf("there are %d jobs, want 2", len(all))
	}
}

func TestAcceptFailsWithTheStore(t *testing.T) {
	r := newRig(t)
	r.store.Fail("Accept", job.Errorf(job.CodeTemporary, "away"))
	if _, err := r.Accept(t.Context(), caller, noop()); job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("the error is %v", err)
	}
	if sent := r.redis.Sent(); len(sent) != 0 {
		t.Errorf("%d tasks were sent", len(sent))
	}
}

func TestEphemeral(t *testing.T) {
	r := newRig(t)
	ephemeral := job.Submission{Type: "noop:ephemeral", Payload: []byte(`{"pad":"x"}`)}
	id := r.accept(t, ephemeral)
	sent := r.redis.Sent()
	if len(sent) != 1 || sent[0].TaskID() != string(id) || sent[0].Dispatch != 0 || string(sent[0].Payload) != `{"pad":"x"}` {
		t.Fatalf("sent are %+v", sent)
	}
	if _, err := r.store.Find(t.Context(), id); job.CodeOf(err) != job.CodeNotFound {
		t.Errorf("it was written to the store: %v", err)
	}
	if j := r.find(t, id); !j.Ephemeral || j.State != job.Waiting {
		t.Errorf("it is found as %+v", j)
	}
	if j, err := r.Cancel(t.Context(), id, "ann"); err != nil || j.State != job.Cancelled {
		t.Errorf("cancelling: %+v, %v", j, err)
	}
	if _, err := r.Find(t.Context(), id); job.CodeOf(err) != job.CodeNotFound {
		t.Errorf("after it is over: %v", err)
	}

	r.redis.Fail(errors.New("away"))
	if _, err := r.Accept(t.Context(), caller, ephemeral); job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("while redis is away: %v", err)
	}
	each, err := r.AcceptEach(t.Context(), caller, []job.Submission{noop(), ephemeral})
	if err != nil || each.Jobs[0].Err != nil || job.CodeOf(each.Jobs[1].Err) != job.CodeTemporary {
		t.Errorf("durable and ephemeral while redis is away: %+v, %v", each, err)
	}
}

func TestListChecksItsFilter(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		filter job.Filter
		want   string
	}{
		{job.Filter{Limit: 0}, "limit"},
		{job.Filter{Limit: job.MaxPage + 1}, "limit"},
		{job.Filter{Limit: 1, Status: "sleeping"}, "state"},
		{job.Filter{Limit: 1, Recipient: "a\x00"}, "recipient"},
		{job.Filter{Limit: 1, Type: "\xff"}, "type"},
		{job.Filter{Limit: 1, Queue: "\xc3("}, "queue"},
	} {
		if _, err := r.List(t.Context(), c.filter); !slices.Equal(fields(err), []string{c.want}) {
			t.Errorf("%+v: %v, want field %s", c.filter, err, c.want)
		}
	}
	for _, status := range []string{"", "scheduled", "queued", "retrying", "waiting", "held", "done"} {
		if _, err := r.List(t.Context(), job.Filter{Limit: 1, Status: status}); err != nil {
			t.Errorf("status %q: %v", status, err)
		}
	}
}

func TestOutbox(t *testing.T) {
	r := newRig(t)
	r.Start()
	got, err := r.AcceptAll(t.Context(), caller, []job.Submission{noop(), noop(), {Type: "noop", Delay: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t)
	sent, err := r.redis.WaitSent(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, task := range sent {
		if task.ID != got.Jobs[i].ID || task.Dispatch != 1 || task.Payload != nil || !task.RunAt.Equal(got.Jobs[i].RunAt) {
			t.Errorf("task %d is %+v", i, task)
		}
	}
	if err := r.Stop(ctx); err != nil {
		t.Fatalf("stopping: %v", err)
	}
	for _, a := range got.Jobs {
		if !r.find(t, a.ID).Dispatched {
			t.Error("an arrival was not noted by the stop")
		}
	}
	if err := r.Stop(ctx); err != nil {
		t.Errorf("stopping again: %v", err)
	}
	late := r.accept(t, noop()) // accepted all the same; reconcile will send it
	if j := r.find(t, late); j.Dispatched {
		t.Error("a job accepted after the stop is known as dispatched")
	}
}

func TestStopWithoutStart(t *testing.T) {
	r := newRig(t)
	r.accept(t, noop())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Errorf("stopping: %v", err)
	}
	r.Start() // too late: it must leave no goroutine behind
	if err := r.Stop(ctx); err != nil {
		t.Errorf("stopping again: %v", err)
	}
	if sent := r.redis.Sent(); len(sent) != 0 {
		t.Errorf("%d tasks were sent", len(sent))
	}
}

func TestOutboxLeavesToReconcileWhatItCannotSend(t *testing.T) {
	r := newRig(t)
	r.redis.FailAfter(1, errors.New("away"))
	r.Start()
	got, err := r.AcceptAll(t.Context(), caller, []job.Submission{noop(), noop(), noop()})
	if err != nil {
		t.Fatalf("accepting while redis fails: %v", err)
	}
	if err := r.Stop(within(t)); err != nil {
		t.Fatalf("stopping: %v", err)
	}
	for i, want := range []bool{true, false, false} {
		if j := r.find(t, got.Jobs[i].ID); j.Dispatched != want || j.State != job.Waiting {
			t.Errorf("job %d is %s, dispatched %t", i, j.State, j.Dispatched)
		}
	}
}

// TestAnOutageIsLoggedOnce holds that a Redis that is away costs two lines of
// the log, and not one a job.
func TestAnOutageIsLoggedOnce(t *testing.T) {
	log, lines := testkit.CaptureLog(t)
	r := newRig(t, func(o *job.Options) { o.Log = log })
	r.redis.Fail(errors.New("away"))
	r.Start()
	for range 20 {
		r.accept(t, noop())
	}
	ctx := within(t)
	testkit.WaitFor(t, 10*time.Second, "all sends to fail", func() bool { return lines.Count("cannot be reached: away") == 20 })
	r.redis.Fail(nil)
	r.accept(t, noop())
	if _, err := r.redis.WaitSent(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(ctx); err != nil {
		t.Fatalf("stopping: %v", err)
	}
	if warned, well := lines.Count("level=WARN"), lines.Count("works again"); warned != 1 || well != 1 {
		t.Errorf("%d warnings and %d words of its end, want one each", warned, well)
	}
}
