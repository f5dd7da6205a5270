package chat_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) {
	// go-redis asks an absent server once a second, and sees only then that its
	// client was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// pushed notes what is pushed.
type pushed struct {
	mu      sync.Mutex
	sent    []chat.Message
	deleted []chat.ID
}

func (p *pushed) MessageSent(_ context.Context, m chat.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, m)
	return nil
}

func (p *pushed) MessageDeleted(_ context.Context, _ string, id chat.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deleted = append(p.deleted, id)
	return nil
}

// rig is a chat over a Redis and an Archive.
type rig struct {
	*chat.Service
	t     testing.TB
	redis redis.UniversalClient
	push  *pushed
}

// atOnce is a Settle that lets everything be archived.
const atOnce = time.Nanosecond

func newRig(t testing.TB, rdb redis.UniversalClient, a chat.Archive) *rig {
	t.Helper()
	log, _ := testkit.CaptureLog(t)
	push := &pushed{}
	return &rig{chat.New(chat.Options{Redis: rdb, Archive: a, Push: push, Log: log, Settle: atOnce}), t, rdb, push}
}

// sqlite opens an Archive of its own.
func sqlite(t testing.TB, o store.Options) store.Chats {
	t.Helper()
	return open(t, "sqlite:"+filepath.Join(t.TempDir(), "postrider.db"), o)
}

func open(t testing.TB, url string, o store.Options) store.Chats {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{URL: url, AutoMigrate: true}, testkit.Logger(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Chats()
}

func (r *rig) send(room, user, client, text string) (id chat.ID, again bool) {
	r.t.Helper()
	m, again, err := r.Send(context.Background(), chat.Draft{Room: room, User: user, ClientID: client, Text: text})
	if err != nil {
		r.t.Fatal(err)
	}
	return m.ID, again
}

// run archives all there is.
func (r *rig) run() int {
	r.t.Helper()
	n, more, err := r.Run(context.Background(), time.Now().Add(time.Minute))
	if err != nil || more {
		r.t.Fatalf("archived %d, more is %v: %v", n, more, err)
	}
	return n
}

// all reads a room by pages, newest first.
func (r *rig) all(room string, limit int) (out []chat.Message) {
	r.t.Helper()
	q := chat.Query{Room: room, Limit: limit}
	for {
		p, err := r.History(context.Background(), q)
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, p.Messages...)
		if p.Next.IsZero() {
			return out
		}
		q.Before = p.Next
	}
}

// want fails the test unless a room has these texts, oldest first.
func (r *rig) want(room string, texts ...string) {
	r.t.Helper()
	for _, limit := range []int{1, 3, chat.MaxPage} {
		var got []string
		for _, m := range r.all(room, limit) {
			got = append([]string{m.Text}, got...)
		}
		if fmt.Sprint(got) != fmt.Sprint(texts) {
			r.t.Errorf("by pages of %d the room has %.300q, want %.300q", limit, got, texts)
		}
	}
}

func (r *rig) length(room string) int64 {
	r.t.Helper()
	n, err := r.redis.XLen(context.Background(), "postrider:chat:{"+room+"}").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}
