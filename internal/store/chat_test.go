package store_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/chat/chattest"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/store"
)

func TestChats(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, url, store.Options{})
		chattest.Conformance(t, func(t *testing.T) chat.Archive {
			if _, err := raw(t, url).Exec("DELETE FROM chat_messages"); err != nil {
				t.Fatal(err)
			}
			return s.Chats()
		})
	})
}

func TestPruneMessages(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		clock := jobtest.NewClock()
		c := open(t, url, store.Options{Clock: clock.Now}).Chats()
		now := clock.Now().UnixMilli()
		day := (24 * time.Hour).Milliseconds()
		var old []chat.Message
		for i := range int64(5) {
			old = append(old, chattest.Said("red", now-9*day+i, i, "ann", "", "old"))
		}
		if _, err := c.Keep(t.Context(), append(old, chattest.Said("red", now-6*day, 0, "ann", "", "young"))); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{3, 2, 0} {
			if n, err := c.PruneMessages(t.Context(), 7*24*time.Hour, 3); err != nil || n != want {
				t.Errorf("pruned %d, want %d: %v", n, want, err)
			}
		}
		if left, err := c.Page(t.Context(), chat.Query{Room: "red", Limit: 10}); err != nil || len(left) != 1 || left[0].Text != "young" {
			t.Errorf("left are %+v: %v", left, err)
		}
	})
}
