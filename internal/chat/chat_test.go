package chat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/chat/chattest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// redises are what the whole way of a message is tested on.
var redises = map[string]func(t *testing.T) (redis.UniversalClient, func()){
	"single": func(t *testing.T) (redis.UniversalClient, func()) {
		s := testkit.Redis(t)
		return s.Client(), s.FlushAll
	},
	"embedded": func(t *testing.T) (redis.UniversalClient, func()) {
		s := miniredis.RunT(t)
		c := redis.NewClient(&redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true})
		t.Cleanup(func() { _ = c.Close() })
		return c, s.FlushAll
	},
	"cluster": func(t *testing.T) (redis.UniversalClient, func()) {
		c := testkit.Cluster(t, 3)
		return c.Client(), c.FlushAll
	},
}

// A message is sent, sent again, archived, trimmed, lost with Redis, deleted: it
// is there once as long as it should be, and always under its first id.
func TestWay(t *testing.T) {
	for name, open := range redises {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, flush := open(t)
			r := newRig(t, rdb, sqlite(t, store.Options{}))
			const room = "a{b}c/d" // a name that could break a hash tag
			first, _ := r.send(room, "ann", "c1", "one")
			again := func(when string) {
				t.Helper()
				if id, was := r.send(room, "ann", "c1", "one"); !was || id != first {
					t.Errorf("sent again %s it is %s, again %v, want %s", when, id, was, first)
				}
			}
			again("at once")
			r.send(room, "bob", "c1", "two")
			r.send(room, "ann", "", "three")
			r.want(room, "one", "two", "three")
			if n := r.run(); n != 3 {
				t.Errorf("archived %d", n)
			}
			again("when it is archived")
			r.want(room, "one", "two", "three")
			if n := r.run(); n != 0 {
				t.Errorf("archived %d again", n)
			}
			flush()
			again("when Redis is empty")
			r.want(room, "one", "two", "three")
			r.run()
			r.want(room, "one", "two", "three")
			last, _ := r.send(room, "ann", "c2", "four")
			r.want(room, "one", "two", "three", "four")
			for range 2 {
				for _, id := range []chat.ID{first, last} { // archived, and not
					if err := r.Delete(t.Context(), room, id, "bob"); !errors.Is(err, chat.ErrNotYours) {
						t.Errorf("by another: %v", err)
					}
					if err := r.Delete(t.Context(), room, id, "ann"); err != nil {
						t.Fatal(err)
					}
				}
				r.want(room, "two", "three")
				again("when it is deleted")
				r.run()
				r.want(room, "two", "three")
				flush()
			}
			if err := r.Delete(t.Context(), room, chat.ID{MS: 1}, ""); !errors.Is(err, chat.ErrNotFound) {
				t.Errorf("deleting nothing: %v", err)
			}
			if len(r.push.sent) != 4 || len(r.push.deleted) != 4 || r.push.sent[3].Text != "four" {
				t.Errorf("pushed were %+v and %v", r.push.sent, r.push.deleted)
			}
		})
	}
}

func TestDraft(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).Client(), chattest.NewMemory())
	good := chat.Draft{Room: "red", User: "ann", Text: "x", ClientID: "c"}
	for field, spoil := range map[string]func(d *chat.Draft){
		"room":      func(d *chat.Draft) { d.Room = "a\nb" },
		"user":      func(d *chat.Draft) { d.User = strings.Repeat("x", chat.MaxName+1) },
		"client_id": func(d *chat.Draft) { d.ClientID = "\xff" },
		"text":      func(d *chat.Draft) { d.Text = " \n" },
		"data":      func(d *chat.Draft) { d.Data = []byte(`{"a":`) },
	} {
		d := good
		spoil(&d)
		var invalid chat.InvalidError
		if _, _, err := r.Send(t.Context(), d); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("a bad %s: %v", field, err)
		}
	}
	good.Text, good.Data = "a\x00b\xff", []byte("null")
	if _, _, err := r.Send(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	r.want("red", "a\uFFFDb\uFFFD")
}

// Streams keep a tail of what is archived, and nothing goes that is not.
func TestTail(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).Client(), sqlite(t, store.Options{}))
	var texts []string
	for i := range 250 {
		texts = append(texts, fmt.Sprint(i))
		r.send("red", "ann", fmt.Sprint(i), texts[i])
	}
	if n := r.length("red"); n != 250 {
		t.Errorf("before an archive the stream has %d", n)
	}
	r.run()
	if n := r.length("red"); n != 100 {
		t.Errorf("after it the stream has %d", n)
	}
	if n := r.redis.HLen(t.Context(), "postrider:chat:{red}:sent").Val(); n != 100 {
		t.Errorf("%d client ids are kept", n)
	}
	if left := r.redis.PTTL(t.Context(), "postrider:chat:{red}").Val(); left <= 0 || left > 24*time.Hour {
		t.Errorf("the archived stream stays for %s", left)
	}
	r.send("red", "ann", "last", "250")
	if left := r.redis.PTTL(t.Context(), "postrider:chat:{red}").Val(); left != -1 {
		t.Errorf("with news it stays for %s", left)
	}
	r.want("red", append(texts, "250")...)
	if id, again := r.send("red", "ann", "7", "7"); !again || id != r.all("red", 200)[243].ID {
		t.Errorf("what was trimmed is sent again as %s", id)
	}
	r.want("red", append(texts, "250")...)
}

// Ids rise, whatever becomes of Redis and its clock.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	now := time.Now()
	set := func(ago time.Duration) { server.SetTime(now.Add(-ago)) }
	set(0)
	r := newRig(t, rdb, sqlite(t, store.Options{}))
	var texts []string
	say := func() {
		t.Helper()
		texts = append(texts, fmt.Sprint(len(texts)))
		r.send("red", "ann", "", texts[len(texts)-1])
		r.want("red", texts...)
	}
	say()
	set(time.Hour)
	say() // by the stream
	set(0)
	r.run()
	server.FlushAll()
	set(2 * time.Hour)
	say() // by SQL
	say()
	set(0)
	r.run()
	r.want("red", texts...)

	// A copy takes over that lacks what was sent and archived since, and has a
	// clock behind: the next archive sees it.
	rdb.Del(t.Context(), "postrider:chat:{red}")
	rdb.HSet(t.Context(), "postrider:chat:{red}:state", "last", "1-0", "archived", "1-0")
	set(3 * time.Hour)
	r.send("red", "ann", "", "out of place")
	r.run()
	newest := r.all("red", 1)[0].ID
	if id, _ := r.send("red", "ann", "", "in its place"); id.Compare(newest) <= 0 {
		t.Errorf("after an archive %s comes before %s", id, newest)
	}
	if got := r.all("red", 200); len(got) != len(texts)+2 {
		t.Errorf("the room has %+v", got)
	}
}

// SQL's absence stops no chat, and what was said meanwhile is archived later.
func TestSQLAway(t *testing.T) {
	t.Parallel()
	away := &flaky{Archive: sqlite(t, store.Options{})}
	r := newRig(t, testkit.Redis(t).Client(), away)
	id, _ := r.send("red", "ann", "c0", "zero") // SQL is asked for the first
	away.fail.Store(true)
	r.send("red", "ann", "c1", "one")
	if again, was := r.send("red", "ann", "c0", "zero"); !was || again != id {
		t.Errorf("sent again it is %s", again)
	}
	if _, _, err := r.Run(t.Context(), time.Now().Add(time.Minute)); err == nil {
		t.Error("an archive without SQL succeeds")
	}
	away.fail.Store(false)
	if n := r.run(); n != 2 {
		t.Errorf("archived %d", n)
	}
	r.want("red", "zero", "one")
}

// Rooms that fail do not keep others from being archived.
func TestOneRoomFails(t *testing.T) {
	t.Parallel()
	bad := &flaky{Archive: sqlite(t, store.Options{}), room: "room-3"}
	r := newRig(t, testkit.Redis(t).Client(), bad)
	for i := range 8 {
		r.send(fmt.Sprint("room-", i), "ann", "", "x")
	}
	bad.fail.Store(true)
	if n, _, err := r.Run(t.Context(), time.Now().Add(time.Minute)); n != 7 || err == nil {
		t.Errorf("archived %d: %v", n, err)
	}
	bad.fail.Store(false)
	if n := r.run(); n != 1 {
		t.Errorf("then archived %d", n)
	}
}

// Words are found in what is archived and in what is not, alike.
func TestSearch(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).Client(), sqlite(t, store.Options{}))
	for i := range 700 {
		text := fmt.Sprint("message ", i)
		if i%100 == 50 {
			text += " Needle-" + fmt.Sprint(i)
		}
		r.send("red", "ann", "", text)
		if i == 400 {
			r.run()
		}
	}
	q := chat.Query{Room: "red", Words: chat.Words("NEEDLE message"), Limit: 2}
	var got []string
	for pages := 0; pages < 20; pages++ {
		p, err := r.History(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Messages {
			got = append(got, m.Text[len("message "):])
		}
		if q.Before = p.Next; p.Next.IsZero() {
			break
		}
	}
	if want := "[650 Needle-650 550 Needle-550 450 Needle-450 350 Needle-350 250 Needle-250 150 Needle-150 50 Needle-50]"; fmt.Sprint(got) != want {
		t.Errorf("found are %v", got)
	}
}

// An erasure takes what somebody said from both stores, and nobody else's.
func TestEraseUser(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).Client(), sqlite(t, store.Options{}))
	for i := range 30 {
		r.send(fmt.Sprint("room-", i%3), "ann", fmt.Sprint(i), "hers")
		r.send(fmt.Sprint("room-", i%3), "bob", fmt.Sprint(i), "his")
		if i == 20 {
			r.run()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	total := 0
	for n, calls := 10, 0; n == 10 && calls < 10; calls++ {
		var err error
		if n, err = r.EraseUser(ctx, "ann", 10); err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if total != 30 {
		t.Errorf("erased were %d", total)
	}
	for i := range 3 {
		room := fmt.Sprint("room-", i)
		r.want(room, strings.Fields(strings.Repeat("his ", 10))...)
		dump := fmt.Sprint(r.redis.XRange(ctx, "postrider:chat:{"+room+"}", "-", "+").Val(), r.redis.HKeys(ctx, "postrider:chat:{"+room+"}:sent").Val())
		if strings.Contains(dump, "ann") || !strings.Contains(dump, "bob") {
			t.Errorf("Redis has %s", dump)
		}
	}
}

// What was said before the clock was set back is in the future; an erasure finds
// it all the same.
func TestEraseUserAfterClockSetBack(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	r := newRig(t, rdb, sqlite(t, store.Options{}))
	server.SetTime(time.Now())
	r.send("red", "ann", "", "hers")
	server.SetTime(time.Now().Add(-time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if n, err := r.EraseUser(ctx, "ann", 10); err != nil || n != 1 {
		t.Errorf("erased were %d: %v", n, err)
	}
	if got := r.all("red", 10); len(got) != 0 {
		t.Errorf("left are %+v", got)
	}
}
