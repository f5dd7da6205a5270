package app

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/postrider/postrider/internal/testkit"
)

const liveSecret = "a secret of thirty-two bytes, or more"

// liveClient is the official client in Node, which says what it hears.
type liveClient struct {
	t      *testing.T
	in     io.Writer      // what it is told
	events chan liveEvent // closed when Node has ended
	passed []liveEvent
}

type liveEvent struct {
	Event string
	Arg   json.RawMessage
}

// liveToken is a user's, who may enter the room "red".
func liveToken(t *testing.T, user string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(liveSecret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"sub": user, "rooms": []string{"red"}, "exp": time.Now().Add(time.Hour).Unix(),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// connectLive connects a user, who enters the room "red", by the transports that
// are given, or by any.
func connectLive(t *testing.T, addr, user string, transports ...string) *liveClient {
	t.Helper()
	args := []string{"http://" + addr, liveToken(t, user), "red"}
	if len(transports) > 0 {
		args = append(args, strings.Join(transports, ","))
	}
	c := startNode(t, "listen.mjs", args...)
	c.want("joined", `"ok":true`)
	return c
}

// startNode runs a script that uses the official client, until the test ends.
func startNode(t *testing.T, script string, args ...string) *liveClient {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"../socketio/testdata/client/" + script}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting Node, which `make test-deps` installs: %v", err)
	}
	c := &liveClient{t: t, in: in, events: make(chan liveEvent, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(c.events)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e liveEvent
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				c.events <- e
			}
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		<-read
		_ = cmd.Wait()
	})
	return c
}

// want waits for an event whose argument has the text, and returns that. Others that come before
// it wait for a want of their own.
func (c *liveClient) want(event, text string) json.RawMessage {
	c.t.Helper()
	is := func(e liveEvent) bool { return e.Event == event && strings.Contains(string(e.Arg), text) }
	for i, e := range c.passed {
		if is(e) {
			c.passed = append(c.passed[:i], c.passed[i+1:]...)
			return e.Arg
		}
	}
	timeout := time.After(time.Minute)
	for {
		select {
		case e, open := <-c.events:
			if !open {
				c.t.Fatalf("Node ended without %q; above is what it said (without its packages, run `make test-deps`)", event)
			}
			if is(e) {
				return e.Arg
			}
			c.passed = append(c.passed, e)
		case <-timeout:
			c.t.Fatalf("no %q with %s came; there were %s", event, text, c.passed)
			return nil
		}
	}
}

// Users hear their notifications from whichever process they are connected to,
// hear of each other, and miss nothing when a process is killed.
func TestLiveFleet(t *testing.T) {
	redis, smtp := testkit.Redis(t), testkit.NewSMTP(t)
	environ := []string{
		"DATABASE_URL=" + testkit.Postgres(t), "REDIS_URL=redis://" + redis.Addr + "/0", "SMTP_URL=" + smtp.URL(),
		"POSTRIDER_JWT_SECRET=" + liveSecret,
	}
	serve := func(name string) *testkit.Service {
		s := testkit.NewService(t, environ, testkit.Build(t, module+name))
		s.Start()
		s.AwaitReady()
		return s
	}
	one, two := serve("api"), serve("api")
	serve("worker")
	notify := func(fields string) {
		t.Helper()
		post(t, one.Addr, "/jobs/send-notification", "{"+fields+`,"type":"info"}`)
	}

	ann := connectLive(t, one.Addr, "ann")
	bob := connectLive(t, two.Addr, "bob")
	ann.want("user_online", `"userId":"bob"`)
	notify(`"receiverId":"bob","message":"to bob"`)
	bob.want("notification", `"stream":"user:bob","seq":1`)
	notify(`"room":"red","message":"to red"`)
	notify(`"everyone":true,"message":"to everyone"`)
	for _, c := range []*liveClient{ann, bob} {
		c.want("notification", `"stream":"room:red","seq":1`)
		c.want("notification", `"stream":"everyone","seq":1`)
	}

	two.Kill()
	bob.want("disconnect", "")
	notify(`"receiverId":"bob","message":"while he was away"`)
	ann.want("user_offline", `"userId":"bob"`)
	two.Start()
	two.AwaitReady()
	bob.want("notification", `"stream":"user:bob","seq":2`)
	ann.want("user_online", `"userId":"bob"`)
	if code := two.Stop(time.Minute); code != 0 {
		t.Errorf("an api process ended with %d:\n%s", code, two.Output())
	}
	bob.want("disconnect", "transport close") // it was let go, and comes back by itself
}
