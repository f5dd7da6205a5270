package app

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// fleet is separate processes on a real Redis, PostgreSQL and SMTP server.
type fleet struct {
	t        *testing.T
	api      string // host:port
	redis    *testkit.RedisServer
	smtp     *testkit.SMTP
	environ  []string
	database string
	paths    map[string]string
	services map[string][]*testkit.Service // by program
}

const module = "github.com/postrider/postrider/cmd/"

// newFleet is a fleet of no processes yet.
func newFleet(t *testing.T) *fleet {
	f := &fleet{
		t: t, redis: testkit.Redis(t), smtp: testkit.NewSMTP(t), database: testkit.Postgres(t),
		paths: map[string]string{}, services: map[string][]*testkit.Service{},
	}
	f.environ = []string{
		"DATABASE_URL=" + f.database, "REDIS_URL=redis://" + f.redis.Addr + "/0",
		"SMTP_URL=" + f.smtp.URL(), "POSTRIDER_RATE_LIMIT_ADDR=off", "POSTRIDER_RATE_LIMIT_KEY=off",
	}
	for _, name := range []string{"api", "worker", "scheduler"} {
		f.paths[name] = testkit.Build(t, module+name)
	}
	return f
}

func startFleet(t *testing.T) (f *fleet, workers [2]*testkit.Service) {
	f = newFleet(t)
	f.api = f.start("api").Addr
	for i := range workers {
		workers[i] = f.start("worker")
	}
	f.start("scheduler")
	return f, workers
}

// start runs a program and waits until it is ready.
func (f *fleet) start(name string) *testkit.Service {
	f.t.Helper()
	s := testkit.NewService(f.t, f.environ, f.paths[name])
	s.Start()
	s.AwaitReady()
	f.services[name] = append(f.services[name], s)
	return s
}

// post sends n mails from 50 connections at once and returns their ids.
func (f *fleet) post(n int) []string {
	ids := make([]string, n)
	next := make(chan int)
	var senders sync.WaitGroup
	for range 50 {
		senders.Go(func() {
			for i := range next {
				ids[i] = post(f.t, f.api, "/jobs/send-email", email(fmt.Sprintf("user%d@example.com", i), "Welcome!")).ID
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	senders.Wait()
	return ids
}

// mails counts what the SMTP server took, by Message-ID.
func (f *fleet) mails() map[string]int {
	got := map[string]int{}
	for _, m := range f.smtp.Mails() {
		got[m.MessageID]++
	}
	return got
}

// settled waits until all jobs are over and returns how each is, and which
// workers took part.
func (f *fleet) settled(ids []string) (states map[string]int, workers map[string]int) {
	f.t.Helper()
	type view struct {
		State  string `json:"state"`
		Events []struct {
			Kind   string `json:"kind"`
			Worker string `json:"worker"`
		} `json:"events"`
	}
	states, workers = map[string]int{}, map[string]int{}
	for _, id := range ids {
		var v view
		testkit.WaitFor(f.t, 2*time.Minute, "job "+id+" to be over", func() bool {
			get(f.t, f.api, "/jobs/"+id, &v)
			return v.State == "done" || v.State == "failed" || v.State == "held"
		})
		states[v.State]++
		for _, e := range v.Events {
			if e.Kind == "started" {
				workers[e.Worker]++
			}
		}
	}
	return states, workers
}

// Two workers share a thousand mails, and each arrives once.
func TestFleet(t *testing.T) {
	const n = 1000
	f, workers := startFleet(t)
	ids := f.post(n)
	states, shares := f.settled(ids)
	if states["done"] != n {
		t.Errorf("the jobs ended %v", states)
	}
	got := f.mails()
	for id, times := range got {
		if times != 1 {
			t.Errorf("mail %s arrived %d times", id, times)
		}
	}
	if len(got) != n {
		t.Errorf("%d of %d mails arrived", len(got), n)
	}
	if len(shares) != 2 {
		t.Errorf("the workers' shares are %v, want two workers", shares)
	}
	for name, share := range shares {
		if share < n/10 {
			t.Errorf("worker %s had %d of %d runs only", name, share, n)
		}
	}
	for _, w := range workers {
		if code := w.Stop(time.Minute); code != 0 {
			t.Errorf("a worker ended with %d:\n%s", code, w.Output())
		}
	}
}
