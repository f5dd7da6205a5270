package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/testkit"
)

func TestToken(t *testing.T) {
	t.Parallel()
	rdb := testkit.Redis(t).Client()
	p := start(t, rdb, options{})
	for name, given := range map[string]string{
		"none": "", "nonsense": "abc", "forged": token(t, user{ID: "ann"}) + "x",
		"expired": token(t, user{ID: "ann", Expires: time.Now().Add(-time.Hour)}),
		// Within the leeway for clocks it would be let in only to be cut at once.
		"just expired": token(t, user{ID: "ann", Expires: time.Now().Add(-5 * time.Second)}),
	} {
		c := p.connect(given, nil)
		if got := c.want("connect_error"); !strings.Contains(got, `"code":"unauthorized"`) {
			t.Errorf("%s: %s", name, got)
		}
	}
	p.connect("Bearer "+token(t, user{ID: "ann"}), nil).want("connect")
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{})
	c := p.as(user{ID: "ann", Expires: time.Now().Add(3 * time.Second)})
	if got := c.want("auth_expired"); got != `{"reason":"expired"}` {
		t.Errorf("it is told %s", got)
	}
	c.wantCut()
}

// Notifications reach who they are for, on every process, and nobody else.
func TestNotifications(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	ann, ann2, bob := a.as(user{ID: "ann", Rooms: []string{"red"}}), b.as(user{ID: "ann"}), b.as(user{ID: "bob", Rooms: []string{"red", "blue"}})
	at := time.UnixMilli(1_800_000_000_123)
	err := a.pub.Publish(context.Background(), []inbox.Notification{
		{ID: "id-1", Stream: inbox.Of("ann"), Seq: 7, Type: "info", Message: "hello", Data: []byte(`{"a":1}`), CreatedAt: at},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{ann, ann2} {
		const want = `{"stream":"user:ann","seq":7,"id":"id-1","type":"info","message":"hello","data":{"a":1},"timestamp":"2027-01-15T08:00:00.123Z"}`
		if got := c.want("notification"); got != want {
			t.Errorf("got %s", got)
		}
	}
	bob.never(a, inbox.Of("bob"), "notification")

	publish := func(stream string) {
		if err := b.pub.Publish(context.Background(), []inbox.Notification{{Stream: stream, Message: stream}}); err != nil {
			t.Fatal(err)
		}
	}
	publish(inbox.OfRoom("red"))
	ann.want("notification")
	bob.want("notification")
	ann2.never(b, inbox.Of("ann"), "notification")
	ann.want("notification") // the mark was ann's
	publish(inbox.Everyone)
	for _, c := range []*client{ann, ann2, bob} {
		if got := c.want("notification"); !strings.Contains(got, `"stream":"everyone"`) {
			t.Errorf("got %s", got)
		}
	}
	if err := a.pub.PublishCounts(context.Background(), inbox.Counts{User: "ann", Version: 3, Unread: 2, Unseen: 1, Last: map[string]int64{"user:ann": 7}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{ann, ann2} {
		if got := c.want("unread_count"); got != `{"count":2,"unseen":1,"version":3,"last":{"user:ann":7}}` {
			t.Errorf("got %s", got)
		}
	}
}

// A client that says how far it came gets what came after, of its own streams,
// and is told to fetch what is too much.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{missed: streams{"user:ann": 5, "everyone": 10, "user:bob": 9}})
	p.ready() // its subscription is told to clients, too
	c := p.connect(token(t, user{ID: "ann"}), map[string]int64{"user:ann": 3, "everyone": 1, "user:bob": 0, "room:x": 0})
	c.want("connect")
	seen := map[string][]int64{}
	for range 5 {
		var n struct {
			Stream string
			Seq    int64
		}
		if err := json.Unmarshal([]byte(c.want("notification")), &n); err != nil {
			t.Fatal(err)
		}
		seen[n.Stream] = append(seen[n.Stream], n.Seq)
	}
	if c.want("resync") != `{"within_ms":0}` {
		t.Error("it is not told to fetch the rest")
	}
	if want := map[string][]int64{"user:ann": {4, 5}, "everyone": {2, 3, 4}}; !reflect.DeepEqual(seen, want) {
		t.Errorf("it got %v, want %v", seen, want)
	}
	c.never(p, inbox.Of("ann"), "notification")
	p.connect(token(t, user{ID: "ann"}), map[string]int64{"user:ann": -1}).want("connect")
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	old := token(t, user{ID: "ann", TokenID: "t1", Issued: time.Now().Add(-time.Minute)})
	one, two := a.connect(old, nil), b.connect(old, nil)
	bob := b.as(user{ID: "bob", TokenID: "t2"})
	one.want("connect")
	two.want("connect")
	if err := a.pub.RevokeUser(context.Background(), "ann"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{one, two} {
		if got := c.want("auth_expired"); got != `{"reason":"revoked"}` {
			t.Errorf("it is told %s", got)
		}
		c.wantCut()
	}
	b.connect(old, nil).want("connect_error")
	b.as(user{ID: "ann", Issued: time.Now().Add(10 * time.Second)}) // a later one
	if err := a.pub.RevokeToken(context.Background(), "t2"); err != nil {
		t.Fatal(err)
	}
	bob.want("auth_expired")
	bob.wantCut()
	a.connect(token(t, user{ID: "bob", TokenID: "t2"}), nil).want("connect_error")
	a.as(user{ID: "bob", TokenID: "t3"})
}

func TestRooms(t *testing.T) {
	t.Parallel()
	rdb := testkit.Redis(t).Client()
	p := start(t, rdb, options{enter: func(_ context.Context, u auth.Identity, room string) (bool, error) {
		if room == "broken" {
			return false, errors.New("a secret of the server")
		}
		return u.ID == "ann" && room == "open", nil
	}})
	p.ready()
	ann := p.as(user{ID: "ann", Rooms: []string{"red"}})
	for arg, want := range map[any]string{
		"red":    `{"ok":true,"room":"red","users":["ann"]}`,
		"open":   `{"ok":true,"room":"open","users":["ann"]}`,
		"blue":   `{"ok":false,"error":"you may not enter this room"}`,
		"broken": `{"ok":false,"error":"not possible now, try again"}`,
		"":       `{"ok":false,"error":"a room's name has 1 to 128 bytes and no control characters"}`,
		true:     `{"ok":false,"error":"a room's name has 1 to 128 bytes and no control characters"}`,
	} {
		if got := ann.ask("join_room", arg); got != want {
			t.Errorf("join_room %v: %s", arg, got)
		}
	}
	if got := ann.ask("join_room", map[string]string{"room": "red"}); !strings.Contains(got, `"ok":true`) {
		t.Errorf("by an object: %s", got)
	}
	publish := func(room string) {
		if err := p.pub.Publish(context.Background(), []inbox.Notification{{Stream: inbox.OfRoom(room), Type: room}}); err != nil {
			t.Fatal(err)
		}
	}
	publish("open")
	ann.want("notification")
	for _, room := range []string{"open", "red", "red"} {
		if got := ann.ask("leave_room", room); got != `{"ok":true,"room":"`+room+`"}` {
			t.Errorf("leave_room: %s", got)
		}
	}
	publish("open") // for who is not in it any more
	publish("red")  // in the inbox all the same
	if got := ann.want("notification"); !strings.Contains(got, `"type":"red"`) {
		t.Errorf("got %s", got)
	}
}

// Who enters a room is told to those in it, on every process, once; who leaves
// it when the last connection has been gone for the grace.
func TestPresence(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	red := []string{"red"}
	watcher := a.as(user{ID: "watcher", Rooms: red})
	watcher.ask("join_room", "red")
	watcher.want("user_online") // itself
	ann := b.as(user{ID: "ann", Rooms: red})
	if got := ann.ask("join_room", "red"); got != `{"ok":true,"room":"red","users":["ann","watcher"]}` {
		t.Errorf("it is answered %s", got)
	}
	if got := watcher.want("user_online"); got != `{"userId":"ann","room":"red"}` {
		t.Errorf("got %s", got)
	}
	second := a.as(user{ID: "ann", Rooms: red})
	second.ask("join_room", "red")
	ann.end()
	outsider := b.as(user{ID: "outsider"})
	watcher.never(a, inbox.Of("watcher"), "user_online", "user_offline") // a second tab is no news, nor is one less
	second.end()
	left := time.Now()
	if got := watcher.want("user_offline"); got != `{"userId":"ann","room":"red"}` {
		t.Errorf("got %s", got)
	}
	if took := time.Since(left); took < presenceGrace-presenceEvery {
		t.Errorf("it is gone after %s", took)
	}
	outsider.never(b, inbox.Of("outsider"), "user_online", "user_offline")
}

// A user who comes back within the grace was never away.
func TestPresenceGrace(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	red := []string{"red"}
	watcher := a.as(user{ID: "watcher", Rooms: red})
	watcher.ask("join_room", "red")
	watcher.want("user_online")
	ann := b.as(user{ID: "ann", Rooms: red})
	ann.ask("join_room", "red")
	watcher.want("user_online")
	for range 2 {
		ann.end()
		ann = a.as(user{ID: "ann", Rooms: red})
		ann.ask("join_room", "red")
	}
	watcher.never(a, inbox.Of("watcher"), "user_online", "user_offline")
}

// The users of a process that was killed are gone like all others: it puts their
// presence off no more.
func TestPresenceOfKilledProcess(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	red := []string{"red"}
	watcher := a.as(user{ID: "watcher", Rooms: red})
	watcher.ask("join_room", "red")
	ann := b.as(user{ID: "ann", Rooms: red})
	ann.ask("join_room", "red")
	watcher.want("user_online")
	b.hub.Stop() // its rounds end; nobody is told anything
	if got := watcher.want("user_offline"); got != `{"userId":"ann","room":"red"}` {
		t.Errorf("got %s", got)
	}
}

// A subscription that is lost is made anew, and the clients are told to fetch
// what they may have missed.
func TestResync(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	p := start(t, server.Client(), options{})
	p.ready()
	ann := p.as(user{ID: "ann"})
	pings := func() (n int) {
		stats := p.hub.o.Redis.Info(t.Context(), "commandstats").Val()
		if found := regexp.MustCompile(`cmdstat_ping:calls=(\d+)`).FindStringSubmatch(stats); found != nil {
			n, _ = strconv.Atoi(found[1]) // digits
		}
		return n
	}
	before := pings()
	testkit.WaitFor(t, patience, "the silent subscription is asked for a sign of life", func() bool { return pings() >= before+3 })
	ann.never(p, inbox.Of("ann"), "resync")
	for range 2 {
		if err := server.Client().ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		ann.want("resync")
		ann.never(p, inbox.Of("ann"))
	}
	server.Stop()
	server.Restart()
	ann.want("resync")
	ann.never(p, inbox.Of("ann"))
}

func TestEventLimit(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{config: func(c *Config) { c.Events = limit.Rate{N: 5, Per: time.Hour} }})
	ann, bob := p.as(user{ID: "ann"}), p.as(user{ID: "bob"})
	for range 10 {
		ann.say(`42["anything"]`)
	}
	if got := ann.want("error"); !strings.Contains(got, `"message":"Rate limit exceeded"`) {
		t.Errorf("got %s", got)
	}
	ann.wantCut()
	bob.ask("leave_room", "x")
}

func TestConnectionsLimit(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{config: func(c *Config) { c.Connections = 2 }})
	first := p.as(user{ID: "ann"})
	p.as(user{ID: "ann"})
	if got := p.connect(token(t, user{ID: "ann"}), nil).want("connect_error"); !strings.Contains(got, `"code":"rate_limited"`) {
		t.Errorf("got %s", got)
	}
	p.as(user{ID: "bob"})
	first.end()
	testkit.WaitFor(t, patience, "a place is free again", func() bool {
		c := p.connect(token(t, user{ID: "ann"}), nil)
		return c.comes("connect", time.Second)
	})
}

func TestHandshakeLimit(t *testing.T) {
	t.Parallel()
	p := start(t, testkit.Redis(t).Client(), options{config: func(c *Config) { c.Handshakes = limit.Rate{N: 2, Per: time.Hour} }})
	for i := range 3 {
		ws, resp, err := websocket.DefaultDialer.Dial(p.url+"/socket.io/?EIO=4&transport=websocket", nil)
		if err == nil {
			_ = ws.Close()
		}
		if i < 2 && err != nil || i == 2 && (resp == nil || resp.StatusCode != http.StatusTooManyRequests) {
			t.Errorf("handshake %d: %v", i, err)
		}
	}
}

// While Redis is away nobody new is let in, since it cannot be told whose token
// was revoked; who is there stays.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	p := start(t, server.Client(), options{})
	ann := p.as(user{ID: "ann"})
	server.Stop()
	if got := p.connect(token(t, user{ID: "bob"}), nil).want("connect_error"); !strings.Contains(got, `"code":"temporary"`) {
		t.Errorf("got %s", got)
	}
	if got := ann.ask("leave_room", "x"); got != `{"ok":true,"room":"x"}` {
		t.Errorf("got %s", got)
	}
	server.Restart()
}

// The Redis that is embedded in the one-process postrider does, too.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	p := start(t, rdb, options{})
	p.ready()
	ann, bob := p.as(user{ID: "ann", Rooms: []string{"red"}}), p.as(user{ID: "bob", Rooms: []string{"red"}})
	ann.ask("join_room", "red")
	bob.ask("join_room", "red")
	ann.want("user_online")
	ann.want("user_online")
	if err := p.pub.RevokeUser(context.Background(), "ann"); err != nil {
		t.Fatal(err)
	}
	ann.wantCut()
	bob.end()
}
