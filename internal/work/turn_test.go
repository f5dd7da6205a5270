package work

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func newFleet(t *testing.T, server *testkit.RedisServer, text string) *limit.Fleet {
	t.Helper()
	var rules limit.Rules
	if err := rules.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return limit.NewFleet(server.Client(), rules, testkit.Logger(t))
}

// limited has the rig's worker replaced by one that keeps the limits.
func (r *rig) limited(server *testkit.RedisServer, text string, h handler, more ...Binding) {
	r.t.Helper()
	log, _ := testkit.CaptureLog(r.t)
	fleet := newFleet(r.t, server, text)
	fleet.Start()
	r.t.Cleanup(fleet.Stop)
	types, err := tasks.NewCatalogue(append(tasks.Builtin(), probeType.Type, ephemeralType.Type)...)
	if err != nil {
		r.t.Fatal(err)
	}
	probed := func(ctx context.Context, run *Run, _ *probe) job.Outcome { return h(ctx, run) }
	r.Worker, err = New(Options{
		Name: "limited", Config: testConfig, Runner: r.store, Types: types, Log: log, Metrics: prometheus.NewRegistry(),
		Limits: fleet, Handlers: append(more, On(probeType, probed), On(ephemeralType, probed)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Start()
	w := r.Worker
	r.t.Cleanup(func() { _ = w.Shutdown(context.WithoutCancel(r.t.Context())) })
}

func (r *rig) acceptMail(address string) job.Task {
	r.t.Helper()
	e := welcome()
	e.Rcpt, e.To = address, []string{address}
	return r.accept(tasks.EmailSend.Type, e)
}

// TestTurnCostsNothing: a task over its queue's rate comes back later, before
// its job is claimed; so does an ephemeral one, without an attempt; and nobody
// runs past a limit that cannot be asked.
func TestTurnCostsNothing(t *testing.T) {
	server := testkit.Redis(t)
	r := newRig(t, done)
	r.limited(server, "queue:default=1/h", done)
	first, second := r.accept(probeType.Type, probe{}), r.accept(probeType.Type, probe{})
	once := job.Task{ID: job.NewID(), Type: ephemeralType.Name, Queue: "default", Payload: []byte(`{}`)}
	if v := r.Handle(t.Context(), first); !isAck(v) {
		t.Fatalf("the first: %+v", v)
	}
	late := func(name string, task job.Task, least time.Duration) {
		t.Helper()
		if v := r.Handle(t.Context(), task); !v.Again || v.Err != nil || v.After < least || v.Reason != "limit" {
			t.Errorf("%s: %+v, want it again after %v at least", name, v, least)
		}
	}
	late("the second", second, 5*time.Minute)
	late("an ephemeral one", once, 5*time.Minute)
	server.Kill()
	late("without Redis", second, time.Second)
	if j := r.find(second.ID); j.Runs != 0 || j.Attempts != 0 || j.State != job.Waiting {
		t.Errorf("the job is %+v, want it untouched", j)
	}
	other := job.Task{ID: job.NewID(), Type: ephemeralType.Name, Queue: "other", Payload: []byte(`{}`)}
	if v := r.Handle(t.Context(), other); !isAck(v) {
		t.Errorf("in a queue without limits: %+v", v)
	}
}

// TestTurnWaits: a task waits for a place in its slot, takes it when it is
// left, and a worker that stops does not wait with it.
func TestTurnWaits(t *testing.T) {
	server := testkit.Redis(t)
	began, finish := make(chan job.ID, 3), make(chan struct{})
	r := newRig(t, done)
	r.limited(server, "queue:default.concurrency=1", func(_ context.Context, run *Run) job.Outcome {
		began <- run.Job.ID
		<-finish
		return job.Succeeded("")
	})
	begin := func() job.ID {
		t.Helper()
		select {
		case id := <-began:
			return id
		case <-time.After(patience):
			t.Fatal("no job began")
			panic("unreachable")
		}
	}
	one, two := r.handle(r.accept(probeType.Type, probe{})), r.handle(r.accept(probeType.Type, probe{}))
	first := begin()
	select {
	case id := <-began:
		t.Fatalf("%s runs beside %s", id, first)
	case <-time.After(10 * knock):
	}
	finish <- struct{}{}
	if second := begin(); second == first {
		t.Fatal("a job ran twice")
	}
	third := r.accept(probeType.Type, probe{})
	waits := r.handle(third)
	testkit.WaitFor(t, patience, "the third to wait", func() bool { return r.gate.count() == 2 })
	stopped := make(chan error, 1)
	go func() { stopped <- r.Shutdown(context.WithoutCancel(t.Context())) }()
	if v := <-waits; !v.Again || v.Reason != "stopping" {
		t.Errorf("the one that waited: %+v", v)
	}
	close(finish)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	for _, v := range []<-chan job.Verdict{one, two} {
		if v := <-v; !isAck(v) {
			t.Errorf("one that ran: %+v", v)
		}
	}
	if j := r.find(third.ID); j.Runs != 0 {
		t.Errorf("the job that waited has %d runs", j.Runs)
	}
}

// TestEmailWaitsForItsDomain: a mail to a domain that has had its share is not
// begun, and not charged.
func TestEmailWaitsForItsDomain(t *testing.T) {
	server, smtp := testkit.Redis(t), testkit.NewSMTP(t)
	r := newRig(t, done)
	r.limited(server, "domain:example.org=1/h", done, Email(mailOver(newSender(t, smtp))))
	to := func(address string) job.Task {
		task := r.acceptMail(address)
		r.Handle(t.Context(), task)
		return task
	}
	first, second, other := to("ann@example.org"), to("bob@EXAMPLE.org"), to("ann@example.net")
	for id, want := range map[job.ID]job.State{first.ID: job.Done, second.ID: job.Waiting, other.ID: job.Done} {
		if j := r.find(id); j.State != want {
			t.Errorf("a mail is %s (%s), want %s", j.State, j.Message, want)
		}
	}
	j := r.find(second.ID)
	if j.Attempts != 0 || j.Code != job.CodeRateLimited || time.Until(j.RunAt) < 5*time.Minute || len(smtp.Mails()) != 2 {
		t.Errorf("the job that waits is %+v, %d mails were sent", j, len(smtp.Mails()))
	}
	server.Kill()
	third := to("cy@example.org")
	if j := r.find(third.ID); j.State != job.Waiting || j.Attempts != 0 {
		t.Errorf("without Redis a limited mail is %+v", j)
	}
}

// TestEmailWaitsForAProvider: a mail that no provider has room for gives its
// turn at its domain and its queue to others, and is not charged.
func TestEmailWaitsForAProvider(t *testing.T) {
	const limits = "queue:email=100/s,domain:example.org=1/h,provider:main=1/h"
	server, smtp := testkit.Redis(t), testkit.NewSMTP(t)
	sender, err := mail.New(mail.Options{
		Config:  mail.Config{URL: smtp.URL() + "&name=main", From: "shop@example.com", Timeout: patience},
		Senders: 1, Limits: newFleet(t, server, limits), Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	r := newRig(t, done)
	r.limited(server, limits, done, Email(mailOver(sender)))
	first := r.acceptMail("ann@example.net")
	if r.Handle(t.Context(), first); r.find(first.ID).State != job.Done {
		t.Fatalf("the first mail is %+v", r.find(first.ID))
	}
	task := r.acceptMail("bob@example.org")
	v := r.Handle(t.Context(), task)
	j := r.find(task.ID)
	if !v.Again || j.State != job.Waiting || j.Attempts != 0 || j.Code != job.CodeRateLimited || time.Until(j.RunAt) < 5*time.Minute {
		t.Errorf("%+v, the job is %+v", v, j)
	}
	rdb := server.Client()
	for _, key := range []string{"{domain:example.org}:1/h", "{queue:email}:100/s"} {
		starts := rdb.LLen(t.Context(), "postrider:limit:"+key+":starts").Val()
		kept := rdb.ZScore(t.Context(), "postrider:limit:"+key+":slots", string(task.ID)).Val()
		if want := int64(strings.Count(key, "queue")); starts != want || kept == 0 {
			t.Errorf("%s has %d starts, want %d, and the turn %v", key, starts, want, kept)
		}
	}
}

// knock is how often a place is asked for.
const knock = 20 * time.Millisecond
