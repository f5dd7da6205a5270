package chat_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

var errKilled = errors.New("killed here")

// flaky is an Archive that can be away, for one room or for all.
type flaky struct {
	chat.Archive
	fail atomic.Bool
	room string
}

func (f *flaky) Keep(ctx context.Context, messages []chat.Message) ([]chat.Message, error) {
	for _, m := range messages {
		if f.fail.Load() && (f.room == "" || m.Room == f.room) {
			return nil, errKilled
		}
	}
	return f.Archive.Keep(ctx, messages)
}

func (f *flaky) Sent(ctx context.Context, room, user, clientID string) (chat.Message, error) {
	if f.fail.Load() {
		return chat.Message{}, errKilled
	}
	return f.Archive.Sent(ctx, room, user, clientID)
}

// cut is a hook of a Redis client whose pipelines fail from the n-th on: before
// they are sent, or after they were carried out.
type cut struct {
	left  atomic.Int64
	after bool
}

func (c *cut) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *cut) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *cut) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if c.left.Add(-1) >= 0 {
			return next(ctx, cmds)
		}
		if c.after {
			_ = next(ctx, cmds)
		}
		for _, cmd := range cmds {
			cmd.SetErr(errKilled)
		}
		return errKilled
	}
}

// An archive that is killed between any two steps loses nothing and doubles
// nothing, nor does the one after it.
func TestKilledArchive(t *testing.T) {
	t.Parallel()
	points := map[string]func(t *testing.T, server *testkit.RedisServer, a *store.Chats, o *fault) redis.UniversalClient{}
	for _, point := range []string{"begin", "commit", "committed"} {
		points["SQL "+point] = func(_ *testing.T, server *testkit.RedisServer, _ *store.Chats, o *fault) redis.UniversalClient {
			o.point.Store(point)
			return server.Client()
		}
	}
	for n := range 3 {
		for _, after := range []bool{false, true} {
			points[fmt.Sprintf("pipeline %d, after %v", n, after)] = func(_ *testing.T, server *testkit.RedisServer, _ *store.Chats, _ *fault) redis.UniversalClient {
				c, hook := server.Client(), &cut{after: after}
				hook.left.Store(int64(n))
				c.AddHook(hook)
				return c
			}
		}
	}
	server := testkit.Redis(t)
	f := &fault{}
	f.point.Store("")
	a := sqlite(t, store.Options{Fault: f.fault, RepeatFor: time.Minute})
	whole := newRig(t, server.Client(), a)
	i := 0
	for name, kill := range points {
		room := fmt.Sprint("room-", i)
		i++
		var texts []string
		for k := range 120 { // more than the tail
			texts = append(texts, fmt.Sprint(k))
			whole.send(room, "ann", texts[k], texts[k])
		}
		killed := newRig(t, kill(t, server, &a, f), a)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // an outage of SQL is waited for
		if name[:3] != "SQL" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		}
		_, _, err := killed.Run(ctx, time.Now().Add(time.Minute))
		cancel()
		if err == nil {
			t.Errorf("%s: nothing failed", name)
		}
		f.point.Store("")
		whole.want(room, texts...)
		whole.run()
		whole.want(room, texts...)
		if n := whole.length(room); n != 100 {
			t.Errorf("%s: then the stream has %d", name, n)
		}
		if id, again := whole.send(room, "ann", "3", "3"); !again || id != whole.all(room, 200)[116].ID {
			t.Errorf("%s: what is sent again is %s", name, id)
		}
	}
}

// fault fails the archive's transactions at a point.
type fault struct{ point atomic.Value }

func (f *fault) fault(op, point string) error {
	if op == "keep_messages" && f.point.Load() == point {
		return context.DeadlineExceeded
	}
	return nil
}

// While some write, some archive and some delete, whoever reads finds every
// message that was there before, once, in order.
func TestHammer(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	urls := map[string]store.Chats{"sqlite": sqlite(t, store.Options{}), "postgres": open(t, testkit.Postgres(t), store.Options{})}
	for name, a := range urls {
		t.Run(name, func(t *testing.T) { hammer(t, newRig(t, server.Client(), a), name) })
	}
}

func hammer(t *testing.T, r *rig, room string) {
	const writers, each = 4, 250
	var (
		mu   sync.Mutex
		said []chat.ID // acknowledged, in no order
		gone = map[chat.ID]bool{}
	)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing, others sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				name := fmt.Sprintf("%d-%d", w, i)
				m, _, err := r.Send(t.Context(), chat.Draft{Room: room, User: "ann", ClientID: name, Text: name})
				if err != nil {
					t.Error(err)
					return
				}
				if i%7 == 3 { // a retry
					if again, was, err := r.Send(t.Context(), chat.Draft{Room: room, User: "ann", ClientID: name, Text: name}); err != nil || !was || again.ID != m.ID {
						t.Errorf("a retry of %s is %s: %v", m.ID, again.ID, err)
					}
				}
				mu.Lock()
				said = append(said, m.ID)
				mu.Unlock()
				if i%10 == 5 {
					mu.Lock()
					victim := said[rand.IntN(len(said))]
					gone[victim] = true // from now on it may be missing
					mu.Unlock()
					if err := r.Delete(t.Context(), room, victim, ""); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 2 {
		others.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := r.Run(t.Context(), time.Now().Add(time.Minute)); err != nil {
					t.Errorf("archiving: %v", err)
				}
			}
		})
		others.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				before := append([]chat.ID(nil), said...)
				mu.Unlock()
				seen := map[chat.ID]bool{}
				last := chat.ID{MS: 1 << 52}
				for _, m := range r.all(room, 20+rand.IntN(80)) {
					if m.ID.Compare(last) >= 0 {
						t.Errorf("%s comes after %s", m.ID, last)
					}
					last, seen[m.ID] = m.ID, true
				}
				mu.Lock()
				for _, id := range before {
					if !seen[id] && !gone[id] {
						t.Errorf("%s is missing", id)
					}
				}
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	stop()
	others.Wait()
	r.run()
	want := map[chat.ID]bool{}
	for _, id := range said {
		want[id] = !gone[id]
	}
	for _, m := range r.all(room, 200) {
		if !want[m.ID] {
			t.Errorf("%s is there: %+v", m.ID, m)
		}
		delete(want, m.ID)
	}
	for id, there := range want {
		if there {
			t.Errorf("%s is missing", id)
		}
	}
}
