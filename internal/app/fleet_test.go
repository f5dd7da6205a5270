package app

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

// fleet is separate processes on a real Redis, PostgreSQL and SMTP server.
type fleet struct {
	t       *testing.T
	api     string // host:port
	redis   *testkit.RedisServer
	smtp    *testkit.SMTP
	environ []string
	paths   map[string]string
}

const module = "github.com/postrider/postrider/cmd/"

func startFleet(t *testing.T) (f *fleet, workers [2]*testkit.Service) {
	f = &fleet{t: t, redis: testkit.Redis(t), smtp: testkit.NewSMTP(t), paths: map[string]string{}}
	f.environ = []string{
		"DATABASE_URL=" + testkit.Postgres(t), "REDIS_URL=redis://" + f.redis.Addr + "/0",
		"SMTP_URL=" + f.smtp.URL(), "POSTRIDER_RATE_LIMIT_ADDR=off", "POSTRIDER_RATE_LIMIT_KEY=off",
	}
	for _, name := range []string{"api", "worker", "scheduler"} {
		f.paths[name] = testkit.Build(t, module+name)
	}
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

// A worker killed in the middle, and Redis flushed in the middle, lose nothing.
// What the killed worker was sending may arrive twice, and is marked so.
func TestFleetLosesNothing(t *testing.T) {
	const n = 1000
	f, workers := startFleet(t)
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		deadline := time.Now().Add(patienceInTests)
		for len(f.smtp.Mails()) < n/5 && time.Now().Before(deadline) {
			<-time.After(time.Millisecond)
		}
		workers[0].Kill()
	}()
	ids := f.post(n)
	<-killed
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr})
	defer rdb.Close()
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	at := len(f.smtp.Mails())
	if at >= n {
		t.Fatalf("all mails had been sent before the flush: it proves nothing")
	}
	t.Logf("killed a worker and flushed Redis at %d of %d mails", at, n)

	states, _ := f.settled(ids)
	if states["done"] != n {
		t.Errorf("the jobs ended %v", states)
	}
	got, twice := f.mails(), 0
	for _, id := range ids {
		switch times := got["<"+id+"@localhost>"]; {
		case times == 0:
			t.Errorf("mail %s was lost", id)
		case times > 1:
			twice++
			if !f.markedAmbiguous(id) {
				t.Errorf("mail %s arrived %d times and no run of it is marked ambiguous", id, times)
			}
		}
	}
	if most := 20; twice > most { // the killed worker's concurrency
		t.Errorf("%d mails arrived twice, the killed worker can have been sending %d", twice, most)
	}
	t.Logf("%d mails arrived twice", twice)
}

func (f *fleet) markedAmbiguous(id string) bool {
	var v struct {
		Events []struct {
			Code string `json:"code"`
		} `json:"events"`
	}
	get(f.t, f.api, "/jobs/"+id, &v)
	for _, e := range v.Events {
		if strings.Contains(e.Code, "ambiguous") {
			return true
		}
	}
	return false
}
