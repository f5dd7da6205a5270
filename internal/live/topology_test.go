package live

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/chat/chattest"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/testkit"
)

// both are two processes with a client each, who have entered the room "red".
type both struct {
	a, b     *process
	ann, bob *client
}

// conform has two processes do once, on a Redis of whatever kind, all that goes
// by Redis. It returns them, and a user whose tokens are revoked.
func conform(t *testing.T, rdb redis.UniversalClient) (pair both, revoked user) {
	t.Helper()
	archive := chattest.NewMemory()
	a, b := start(t, rdb, options{archive: archive}), start(t, rdb, options{archive: archive})
	a.ready()
	b.ready()
	red := []string{"red"}
	for _, id := range []string{"cyd", "dan", "eve", "fay"} { // on several channels
		one, two := a.as(user{ID: id}), b.as(user{ID: id})
		both{a, b, one, two}.hear(inbox.Of(id))
		one.end()
		two.end()
	}
	counted(t, a.pub, 0, 0, 0)

	ann, bob := a.as(user{ID: "ann", Rooms: red}), b.as(user{ID: "bob", Rooms: red})
	pair = both{a, b, ann, bob}
	pair.hear(inbox.Everyone)
	ann.ask("join_room", "red")
	if got := bob.ask("join_room", "red"); got != `{"ok":true,"room":"red","users":["ann","bob"]}` {
		t.Errorf("it is answered %s", got)
	}
	ann.want("user_online") // itself
	if got := ann.want("user_online"); got != `{"userId":"bob","room":"red"}` {
		t.Errorf("got %s", got)
	}
	pair.hear(inbox.OfRoom("red"))
	pair.talk("hello")

	revoked = user{ID: "gus", Rooms: red, Issued: time.Now().Add(-time.Minute)}
	gus := b.as(revoked)
	gus.ask("join_room", "red")
	ann.want("user_online")
	counted(t, a.pub, 3, 3, 1)
	if err := a.pub.RevokeUser(context.Background(), "gus"); err != nil {
		t.Fatal(err)
	}
	gus.want("auth_expired")
	gus.wantCut()
	pair.refuse(revoked)
	counted(t, b.pub, 2, 2, 1)
	for _, c := range []*client{ann, bob} {
		if got := c.want("user_offline"); got != `{"userId":"gus","room":"red"}` {
			t.Errorf("got %s", got)
		}
	}
	return pair, revoked
}

// hear waits until what either process publishes to a stream reaches both clients:
// a subscription may be new.
func (p both) hear(stream string) {
	p.a.t.Helper()
	for _, from := range []*process{p.a, p.b} {
		testkit.WaitFor(p.a.t, patience, "both clients to hear of "+stream, func() bool {
			mark := rand.Text()
			err := from.pub.Publish(context.Background(), []inbox.Notification{{Stream: stream, Message: mark}})
			return err == nil && p.ann.hears(mark) && p.bob.hears(mark)
		})
	}
}

// hears tells whether a notification with the text comes soon.
func (c *client) hears(text string) bool {
	for {
		arg, ok := c.find("notification", time.Second)
		if !ok || strings.Contains(arg, text) {
			return ok
		}
	}
}

// forget drops the events of that name that were passed over.
func (c *client) forget(name string) {
	c.passed = slices.DeleteFunc(c.passed, func(e event) bool { return e.Name == name })
}

// talk has both say something in the room, which both hear.
func (p both) talk(text string) {
	p.a.t.Helper()
	for _, speaker := range []*client{p.ann, p.bob} {
		if got := speaker.ask("chat_message", object{"room": "red", "text": text}); !strings.Contains(got, `"ok":true`) {
			p.a.t.Errorf("what is said is answered %s", got)
		}
		for _, c := range []*client{p.ann, p.bob} {
			if got := c.want("chat_message"); !strings.Contains(got, `"text":"`+text+`"`) {
				p.a.t.Errorf("got %s", got)
			}
		}
	}
}

// refuse wants neither process to let in a user whose tokens are revoked.
func (p both) refuse(u user) {
	p.a.t.Helper()
	for _, p := range []*process{p.a, p.b} {
		if got := p.connect(token(p.t, u), nil).want("connect_error"); !strings.Contains(got, `"code":"unauthorized"`) {
			p.t.Errorf("got %s", got)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	conform(t, testkit.Cluster(t, 3).Client())
}

// When the Sentinels make another server the master, whether the old one lives or
// not, the clients are told to fetch what they may have missed, what is kept is
// still there, and everything goes on.
func TestSentinel(t *testing.T) {
	t.Parallel()
	sentinel := testkit.Sentinel(t)
	pair, revoked := conform(t, sentinel.Client())
	for _, c := range []*client{pair.ann, pair.bob} {
		c.never(pair.a, inbox.Everyone, "resync")
	}
	for _, change := range []func(){sentinel.Failover, func() { sentinel.KillMaster() }} {
		pair.ann.forget("resync") // there may be more than one a change
		pair.bob.forget("resync")
		change()
		pair.ann.want("resync")
		pair.bob.want("resync")
		pair.hear(inbox.Everyone)
		pair.hear(inbox.OfRoom("red"))
		pair.talk("still here")
		pair.refuse(revoked)
		counted(t, pair.b.pub, 2, 2, 1)
	}
}
