package live

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/chat/chattest"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/testkit"
)

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 60 * time.Second

const secret = "a secret of thirty-two bytes, or more"

// process is one api process, as far as live connections go.
type process struct {
	t    testing.TB
	hub  *Hub
	pub  *Publisher
	chat *chat.Service
	url  string // ws://…
}

// options let a test have a process otherwise than usual.
type options struct {
	config  func(*Config)
	missed  streams
	archive chat.Archive // that processes share
	enter   func(ctx context.Context, user auth.Identity, room string) (bool, error)
}

// start makes a process on a Redis, which ends with the test.
func start(t testing.TB, rdb redis.UniversalClient, o options) *process {
	t.Helper()
	log, _ := testkit.CaptureLog(t)
	cfg := Config{
		Handshakes: limit.Rate{N: 1000, Per: time.Second}, Events: limit.Rate{N: 1000, Per: time.Second}, Connections: 20, Aliases: true, Queue: 4 << 20, History: 3,
	}
	if o.config != nil {
		o.config(&cfg)
	}
	pub := NewPublisher(rdb)
	if o.archive == nil {
		o.archive = chattest.NewMemory()
	}
	talk := chat.New(chat.Options{Redis: rdb, Archive: o.archive, Push: pub, Log: log})
	hub, err := New(Options{
		Name: rand.Text(), Config: cfg, Redis: rdb, Publisher: pub, Inbox: echoInbox{o.missed, pub}, Chat: talk, Limiter: limit.New(rdb, log), Log: log, MayEnter: o.enter,
		Tokens:  auth.NewTokens(auth.TokenOptions{Config: auth.Config{JWTSecret: secret, JWTUserClaim: "sub"}, Log: log}),
		Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	hub.Start()
	web := httptest.NewServer(hub)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := hub.Drain(ctx); err != nil {
			t.Error(err)
		}
		hub.Stop()
		web.Close()
	})
	return &process{t, hub, pub, talk, "ws" + strings.TrimPrefix(web.URL, "http")}
}

// two is two processes on a Redis of their own.
func two(t testing.TB) (a, b *process) {
	t.Helper()
	rdb := testkit.Redis(t).Client()
	archive := chattest.NewMemory()
	a, b = start(t, rdb, options{archive: archive}), start(t, rdb, options{archive: archive})
	a.ready()
	b.ready()
	return a, b
}

// ready waits until the process hears what is published.
func (p *process) ready() {
	p.t.Helper()
	want := int64(1)
	testkit.WaitFor(p.t, patience, "the processes listen", func() bool {
		if sharded(p.hub.o.Redis) {
			return p.hears()
		}
		n, err := p.hub.o.Redis.PubSubNumSub(p.t.Context(), channelName+"0").Result()
		return err == nil && n[channelName+"0"] >= want && p.hears()
	})
}

// hears tells whether what this process publishes comes back to a client of it.
func (p *process) hears() bool {
	c := p.connect(token(p.t, user{ID: "probe"}), nil)
	defer c.end()
	for range 20 {
		if err := p.pub.Publish(context.Background(), []inbox.Notification{{Stream: inbox.Of("probe")}}); err != nil {
			return false
		}
		if c.comes("notification", 500*time.Millisecond) {
			return true
		}
	}
	return false
}

// user is what a token says.
type user struct {
	Name    string
	Scope   any
	ID      string
	Rooms   []string
	Expires time.Time // in an hour when zero
	Issued  time.Time // now when zero
	TokenID string
}

func token(t testing.TB, u user) string {
	t.Helper()
	if u.Expires.IsZero() {
		u.Expires = time.Now().Add(time.Hour)
	}
	if u.Issued.IsZero() {
		u.Issued = time.Now()
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(map[string]any{
		"sub": u.ID, "name": u.Name, "scope": u.Scope, "rooms": u.Rooms, "exp": u.Expires.Unix(), "iat": u.Issued.Unix(), "jti": u.TokenID,
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// client is one that speaks by hand.
type client struct {
	t      testing.TB
	ws     *websocket.Conn
	events chan event
	passed []event       // that were passed over
	done   chan struct{} // closed with the connection
	acks   int
	mu     sync.Mutex // one writer at a time
}

// event is what a client gets: an event, an acknowledgement (its id as Name), or
// the answer to CONNECT ("connect", "connect_error").
type event struct {
	Name string
	Arg  string // JSON
}

// connect makes a client, whose events begin with the answer to CONNECT.
func (p *process) connect(token string, last map[string]int64) *client {
	p.t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(context.Background(), p.url+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	c := &client{t: p.t, ws: ws, events: make(chan event, 10_000), done: make(chan struct{})}
	go c.read()
	p.t.Cleanup(c.end)
	given, err := json.Marshal(map[string]any{"token": token, "last": last})
	if err != nil {
		p.t.Fatal(err)
	}
	c.say("40" + string(given))
	return c
}

// as connects a user, who must be let in.
func (p *process) as(u user) *client {
	p.t.Helper()
	c := p.connect(token(p.t, u), nil)
	c.want("connect")
	return c
}

func (c *client) end() {
	_ = c.ws.Close()
	<-c.done
}

func (c *client) say(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.WriteMessage(websocket.TextMessage, []byte(text)) // a cut connection shows when it is read
}

func (c *client) read() {
	defer close(c.done)
	for {
		_, data, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		text := string(data)
		switch {
		case text == "2":
			c.say("3")
		case strings.HasPrefix(text, "40"):
			c.events <- event{"connect", text[2:]}
		case strings.HasPrefix(text, "44"):
			c.events <- event{"connect_error", text[2:]}
		case strings.HasPrefix(text, "42"):
			var list []json.RawMessage
			var name string
			if json.Unmarshal(data[2:], &list) == nil && json.Unmarshal(list[0], &name) == nil {
				c.events <- event{name, string(list[len(list)-1])}
			}
		case strings.HasPrefix(text, "43"):
			id, arg, _ := strings.Cut(text[2:], "[")
			c.events <- event{"ack " + id, strings.TrimSuffix(arg, "]")}
		}
	}
}

// want waits for an event of that name and returns its argument. Others that
// come before it wait for a want of their own.
func (c *client) want(name string) string {
	c.t.Helper()
	arg, ok := c.find(name, patience)
	if !ok {
		c.t.Fatalf("no %q came", name)
	}
	return arg
}

// comes tells whether an event of that name comes soon.
func (c *client) comes(name string, soon time.Duration) bool {
	_, ok := c.find(name, soon)
	return ok
}

func (c *client) find(name string, soon time.Duration) (arg string, ok bool) {
	for i, e := range c.passed {
		if e.Name == name {
			c.passed = slices.Delete(c.passed, i, i+1)
			return e.Arg, true
		}
	}
	timeout := time.After(soon)
	for {
		select {
		case e := <-c.events:
			if e.Name == name {
				return e.Arg, true
			}
			c.passed = append(c.passed, e)
		case <-timeout:
			return "", false
		}
	}
}

// never fails the test if any of the events has come by the time that a
// notification, which is sent now, does.
func (c *client) never(p *process, to string, names ...string) {
	c.t.Helper()
	if err := p.pub.Publish(context.Background(), []inbox.Notification{{Stream: to, Type: "mark"}}); err != nil {
		c.t.Fatal(err)
	}
	for {
		if strings.Contains(c.want("notification"), `"mark"`) {
			break
		}
		if slices.Contains(names, "notification") {
			c.t.Error("a notification came")
		}
	}
	for _, e := range c.passed {
		if slices.Contains(names, e.Name) {
			c.t.Errorf("%s %s came", e.Name, e.Arg)
		}
	}
}

// ask emits an event and waits for its acknowledgement.
func (c *client) ask(name string, arg any) string {
	c.t.Helper()
	text, err := json.Marshal([]any{name, arg})
	if err != nil {
		c.t.Fatal(err)
	}
	c.acks++
	c.say(fmt.Sprintf("42%d%s", c.acks, text))
	return c.want(fmt.Sprintf("ack %d", c.acks))
}

// wantCut waits until the server has closed the connection.
func (c *client) wantCut() {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatal("the connection is not cut")
	}
}

// echoInbox is one that pushes what it is given, and keeps nothing.
type echoInbox struct {
	streams
	pub *Publisher
}

func (s echoInbox) Post(ctx context.Context, n inbox.Notification) (inbox.Notification, bool, error) {
	return n, false, s.pub.Publish(ctx, []inbox.Notification{n})
}

// streams is an inbox whose streams have so many notifications.
type streams map[string]int64

func (s streams) After(_ context.Context, _ inbox.Viewer, positions []inbox.Position) ([]inbox.Stretch, error) {
	var out []inbox.Stretch
	for _, p := range positions {
		stretch := inbox.Stretch{Stream: p.Stream, Through: s[p.Stream]}
		for seq := p.Seq + 1; seq <= s[p.Stream]; seq++ {
			if len(stretch.Notifications) == 3 {
				stretch.More = true
				break
			}
			stretch.Notifications = append(stretch.Notifications, inbox.Notification{Stream: p.Stream, Seq: seq})
		}
		out = append(out, stretch)
	}
	return out, nil
}
