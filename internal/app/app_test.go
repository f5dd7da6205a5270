package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// The whole product runs twice in one process, each with mails of its own.
func TestBootTwiceAtOnce(t *testing.T) {
	apps := []*App{
		boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir()),
		boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir()),
	}
	for i, a := range apps {
		got := post(t, a.Addr(), "/jobs/send-email", email("user@example.com", fmt.Sprint("Welcome ", i)))
		if got.Message != "Email task added to queue" || got.State != "queued" || got.Queue != "email" {
			t.Errorf("answer %+v", got)
		}
		later := post(t, a.Addr(), "/jobs/schedule-email", `{"email":"user@example.com","subject":"Later","message":"m","delay":1000}`)
		if later.State != "scheduled" || later.Message != "Email scheduled to be sent in 1 second" {
			t.Errorf("answer %+v", later)
		}
	}
	for i, a := range apps {
		testkit.WaitFor(t, patienceInTests, "both mails", func() bool { return len(caught(t, a.Addr())) == 2 })
		if got := caught(t, a.Addr()); !slices.Contains(got, fmt.Sprint("Welcome ", i)) || !slices.Contains(got, "Later") {
			t.Errorf("process %d has the mails %q", i, got)
		}
		res, err := http.Get("http://" + a.Addr() + "/readyz")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("readyz: %v, %v", res, err)
		}
		res.Body.Close()
	}
}

// The mailbox has no login. With API keys, too, it answers nobody who comes by
// another name, as a page does whose domain resolves to 127.0.0.1.
func TestMailboxAnswersLocalHostsOnly(t *testing.T) {
	a := boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir(), "POSTRIDER_API_KEYS=shop:0123456789abcdef:admin")
	for host, want := range map[string]int{"": http.StatusOK, "localhost": http.StatusOK, "evil.example": http.StatusForbidden} {
		for _, path := range []string{"/dev/mail", "/dev/mail/messages"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addr()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("%s as %q: %d, want %d", path, host, res.StatusCode, want)
			}
		}
	}
}

// What was accepted before a stop runs after the next start, though the
// embedded Redis has forgotten it.
func TestRestartKeepsJobs(t *testing.T) {
	dir := "POSTRIDER_DATA_DIR=" + t.TempDir()
	first := boot(t, Dev, dir)
	delayed := post(t, first.Addr(), "/jobs/schedule-email", `{"email":"user@example.com","subject":"Delayed","message":"m","delay":1500}`)
	cut := post(t, first.Addr(), "/jobs", `{"type":"noop","payload":{"sleep_ms":1000}}`)
	testkit.WaitFor(t, patienceInTests, "the noop to run", func() bool { return stateOf(t, first.Addr(), cut.ID) == "running" })
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := boot(t, Dev, dir)
	if got := stateOf(t, second.Addr(), cut.ID); got != "done" {
		t.Errorf("the job that ran at the stop is %s: a stop waits for it", got)
	}
	testkit.WaitFor(t, patienceInTests, "the delayed mail", func() bool { return slices.Contains(caught(t, second.Addr()), "Delayed") })
	testkit.WaitFor(t, patienceInTests, "its record", func() bool { return stateOf(t, second.Addr(), delayed.ID) == "done" })
}

// At the limit of a stop a running job is given back, uncharged, and runs
// after the next start.
func TestStopGivesBack(t *testing.T) {
	dir := "POSTRIDER_DATA_DIR=" + t.TempDir()
	first := boot(t, Dev, dir)
	long := post(t, first.Addr(), "/jobs", `{"type":"noop","payload":{"sleep_ms":10000}}`)
	testkit.WaitFor(t, patienceInTests, "the noop to run", func() bool { return stateOf(t, first.Addr(), long.ID) == "running" })
	hurry, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := first.Stop(hurry); err != nil {
		t.Fatal(err)
	}
	second := boot(t, Dev, dir)
	var seen struct {
		State    string `json:"state"`
		Attempts int    `json:"attempts"`
		Events   []struct {
			Kind string `json:"kind"`
			Code string `json:"code"`
		} `json:"events"`
	}
	testkit.WaitFor(t, patienceInTests, "the job to run again", func() bool {
		get(t, second.Addr(), "/jobs/"+long.ID, &seen)
		return seen.State == "running"
	})
	if seen.Attempts != 0 {
		t.Errorf("a job given back was charged %d attempts; its events: %+v", seen.Attempts, seen.Events)
	}
	cancelled, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+second.Addr()+"/jobs/"+long.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(cancelled)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("cancelling: %v, %v", res, err)
	}
	res.Body.Close()
	testkit.WaitFor(t, patienceInTests, "the cancelled job to end", func() bool { return stateOf(t, second.Addr(), long.ID) == "cancelled" })
}

// An event stream and a waiting request hear of what the process does, and end
// when it stops.
func TestStopEndsStreams(t *testing.T) {
	a := boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir())
	ask := func(path string) *bufio.Reader {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("asking for %s: %v, %v", path, res, err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return bufio.NewReader(res.Body)
	}
	events := ask("/events?state=done")
	done := post(t, a.Addr(), "/jobs", `{"type":"noop"}`)
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended before the job: %v", err)
		}
		if strings.HasPrefix(line, "data: ") && strings.Contains(line, done.ID) {
			break
		}
	}
	var seen struct {
		State string `json:"state"`
	}
	if get(t, a.Addr(), "/jobs/"+done.ID+"?wait=60s", &seen); seen.State != "done" {
		t.Errorf("the job is %s", seen.State)
	}

	later := post(t, a.Addr(), "/jobs", `{"type":"noop","delay":3600000}`)
	waiting := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + a.Addr() + "/jobs/" + later.ID + "?wait=60s")
		if err != nil {
			waiting <- err.Error()
			return
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		waiting <- fmt.Sprint(string(text), err)
	}()
	testkit.WaitFor(t, patienceInTests, "the request to wait", func() bool { return metric(t, a.Addr(), "postrider_event_followers") == "2" })
	if err := a.Stop(t.Context()); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if got := <-waiting; !strings.Contains(got, `"state":"scheduled"`) {
		t.Errorf("the request that waited is answered %s", got)
	}
	if rest, err := io.ReadAll(events); err != nil {
		t.Errorf("the stream ends with %q, %v", rest, err)
	}
}

// A second process on the same data is told why it cannot start, and leaves
// the first alone.
func TestSecondRunIsRefused(t *testing.T) {
	dir := "POSTRIDER_DATA_DIR=" + t.TempDir()
	first := boot(t, Dev, dir)
	cfg, _, err := Load(Dev, []string{dir, "POSTRIDER_HTTP_ADDR=127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(t.Context(), Dev, cfg, testkit.Logger(t))
	if err == nil || !strings.Contains(err.Error(), "another postrider is running on") {
		t.Errorf("the second run: %v", err)
	}
	post(t, first.Addr(), "/jobs", `{"type":"noop"}`)
}

// A process that cannot be built leaves nothing behind: neither a goroutine
// (TestMain looks) nor the lock on its data.
func TestNewLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := "POSTRIDER_DATA_DIR=" + t.TempDir()
	cfg, _, err := Load(Dev, []string{dir, "POSTRIDER_HTTP_ADDR=" + taken.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Dev, cfg, testkit.Logger(t)); err == nil || !strings.Contains(err.Error(), "POSTRIDER_HTTP_ADDR") {
		t.Fatalf("on a taken port: %v", err)
	}
	boot(t, Dev, dir)
}

func TestStartRacesStop(t *testing.T) {
	for range 10 {
		a := build(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir())
		var both sync.WaitGroup
		both.Go(func() { _ = a.Start() }) // an error when Stop was first
		both.Go(func() {
			if err := a.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if err := a.Start(); err == nil {
			t.Error("it starts after Stop")
		}
	}
}

// The lifetime ends what was begun, the last first, whatever goes wrong.
func TestLifetime(t *testing.T) {
	l := &lifetime{log: testkit.Logger(t)}
	var order []string
	release := make(chan struct{})
	step := func(name string, err error) {
		l.onStop(name, time.Minute, func(context.Context) error { order = append(order, name); return err })
	}
	step("first", nil)
	step("second", fmt.Errorf("broke"))
	l.onStop("stuck", time.Millisecond, func(context.Context) error { <-release; return nil })
	step("last", nil)
	err := l.stop(t.Context())
	if err == nil || !strings.Contains(err.Error(), "stopping second: broke") || !strings.Contains(err.Error(), "stopping stuck") {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(order, []string{"last", "second", "first"}) {
		t.Errorf("order %q", order)
	}
	if err := l.stop(t.Context()); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	close(release)
}
