package app

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/live"
	"github.com/postrider/postrider/internal/testkit"
)

// crowd is many users' inboxes of clients/js, in one Node.
type crowd struct {
	*liveClient
	size int
}

// member is one of them, as it is.
type member struct {
	User      string
	Connected bool
	Connects  []int64        // when, in milliseconds
	Shown     map[string]int // how often, by message
}

// gather opens the inboxes of so many users, each from an address of its own, and
// returns when all have connected.
func gather(t *testing.T, addr string, size int) crowd {
	t.Helper()
	type user struct {
		User  string `json:"user"`
		Token string `json:"token"`
		From  string `json:"from"`
	}
	users := make([]user, size)
	for i := range users {
		name := fmt.Sprint("user", i)
		users[i] = user{name, liveToken(t, name), fmt.Sprint("127.0.1.", i+1)}
	}
	text, err := json.Marshal(users)
	if err != nil {
		t.Fatal(err)
	}
	c := crowd{startNode(t, "inboxes.mjs", "http://"+addr, string(text)), size}
	c.want("look", "")
	return c
}

func (c crowd) look() (members []member) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(c.want("look", ""), &members); err != nil {
		c.t.Fatal(err)
	}
	return members
}

// speaker sends notifications, at a steady pace, until it is told to stop.
type speaker struct {
	done     chan struct{}
	wait     sync.WaitGroup
	accepted []string // messages, which begin with whom they are for
}

// speak sends a notification every 50 ms, to each user by turns and now and then
// to everyone. As callers should it repeats one that could not be accepted.
func speak(t *testing.T, addr string, users int) *speaker {
	s := &speaker{done: make(chan struct{})}
	s.wait.Go(func() {
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case <-s.done:
				return
			case <-pace.C:
			}
			to, body := "everyone", `"everyone":true`
			if i%10 != 0 {
				to = fmt.Sprint("user", i%users)
				body = `"receiverId":"` + to + `"`
			}
			message := fmt.Sprintf("%s %d", to, i)
			body = "{" + body + `,"message":"` + message + `"}`
			if err := sendOnce(addr, body, message); err != nil {
				t.Errorf("sending %q: %v", message, err)
				return
			}
			s.accepted = append(s.accepted, message)
		}
	})
	return s
}

func (s *speaker) stop() []string {
	close(s.done)
	s.wait.Wait()
	return s.accepted
}

// sendOnce repeats a request until it is accepted; all are one by its key.
func sendOnce(addr, body, key string) error {
	until := time.Now().Add(patienceInTests)
	for {
		req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/jobs/send-notification", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			text, _ := io.ReadAll(res.Body) // for the message
			res.Body.Close()
			if res.StatusCode == http.StatusAccepted {
				return nil
			}
			err = fmt.Errorf("%s: %s", res.Status, text)
			if res.StatusCode < 500 {
				return err
			}
		}
		if time.Now().After(until) {
			return err
		}
		time.Sleep(100 * time.Millisecond) // between two tries
	}
}

// wantShown wants each member to have shown, by and by, what was sent to it, and
// nothing twice.
func (c crowd) wantShown(sent []string) {
	c.t.Helper()
	want := map[string]map[string]int{}
	for _, m := range c.look() {
		want[m.User] = map[string]int{}
		for _, message := range sent {
			if to, _, _ := strings.Cut(message, " "); to == "everyone" || to == m.User {
				want[m.User][message] = 1
			}
		}
	}
	testkit.WaitFor(c.t, patienceInTests, "all clients to show all that was sent", func() bool {
		return !slices.ContainsFunc(c.look(), func(m member) bool { return len(m.Shown) < len(want[m.User]) })
	})
	for _, m := range c.look() {
		if !maps.Equal(m.Shown, want[m.User]) {
			c.t.Errorf("%s has shown %v, want %v", m.User, m.Shown, want[m.User])
		}
	}
}

// wantBack waits until all have connected, to the process that alone is left, and
// wants those who had to come back to have done so spread over time.
func (c crowd) wantBack(since time.Time, addr string) {
	c.t.Helper()
	testkit.WaitFor(c.t, patienceInTests, "all clients to be back", func() bool {
		n, err := strconv.Atoi(metric(c.t, addr, "postrider_live_sessions"))
		return err == nil && n >= c.size && !slices.ContainsFunc(c.look(), func(m member) bool { return !m.Connected })
	})
	var back []int64
	for _, m := range c.look() {
		for _, at := range m.Connects {
			if at >= since.UnixMilli() {
				back = append(back, at)
			}
		}
	}
	if len(back) < 5 {
		c.t.Fatalf("%d clients had to come back: the restart tells nothing", len(back))
	}
	first, last := slices.Min(back), slices.Max(back)
	c.t.Logf("%d clients came back within %d ms", len(back), last-first)
	if last-first < 500 {
		c.t.Errorf("%d clients came back within %d ms of each other", len(back), last-first)
	}
}

// The api processes behind nginx are restarted one after the other while
// notifications go out: their clients are let go by and by, are taken by the
// other process, and neither lose a notification nor show one twice.
func TestRollingRestart(t *testing.T) {
	redis := testkit.Redis(t)
	environ := []string{
		"DATABASE_URL=" + testkit.Postgres(t), "REDIS_URL=redis://" + redis.Addr + "/0", "SMTP_URL=" + testkit.NewSMTP(t).URL(),
		"POSTRIDER_JWT_SECRET=" + liveSecret, "POSTRIDER_RATE_LIMIT_ADDR=off",
	}
	serve := func(name string) *testkit.Service {
		s := testkit.NewService(t, environ, testkit.Build(t, module+name))
		s.Start()
		s.AwaitReady()
		return s
	}
	apis := []*testkit.Service{serve("api"), serve("api")}
	serve("worker")
	front := testkit.Nginx(t, nginxConf, apis[0].Addr, apis[1].Addr)
	clients := gather(t, front, 50)
	speaker := speak(t, front, clients.size)

	for i, api := range apis {
		other, began := apis[1-i], time.Now()
		if code := api.Stop(liveSpread + live.DrainLimit + httpLimit + 2*partLimit); code != 0 {
			t.Errorf("an api process ended with %d:\n%s", code, api.Output())
		}
		clients.wantBack(began, other.Addr)
		// All come from nginx, as from one address, since it is not trusted.
		if n := metric(t, other.Addr, "postrider_live_limited_total"); n != "0" {
			t.Errorf("%s clients were refused by a limit", n)
		}
		api.Start()
		api.AwaitReady()
	}
	sent := speaker.stop()
	if len(sent) < 100 {
		t.Fatalf("%d notifications were sent: the restarts tell nothing", len(sent))
	}
	clients.wantShown(sent)
}
