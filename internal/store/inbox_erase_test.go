package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// deaf is a chat.Pusher to nobody.
type deaf struct{}

func (deaf) MessageSent(context.Context, chat.Message) error       { return nil }
func (deaf) MessageDeleted(context.Context, string, chat.ID) error { return nil }

// An erasure takes the inbox of the user that it names and what they have said in rooms, whether jobs are left
// that put it there or not, and what that user has marked elsewhere; others keep
// theirs.
func TestEraseTakesTheInbox(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, url, store.Options{})
		ctx := t.Context()
		ann, bob := inbox.Viewer{User: "4711-ann", Rooms: []string{"a"}}, inbox.Viewer{User: "bob"}
		for stream, many := range map[string]int{inbox.Of(ann.User): 505 /* more than a page */, inbox.Of(bob.User): 20, "room:a": 20, inbox.Everyone: 20} {
			for range many {
				n, _, err := s.Post(ctx, inbox.Notification{ID: job.NewID(), Stream: stream, Type: "info", Message: "hello"})
				if err != nil {
					t.Fatal(err)
				}
				if n.Seq%10 != 0 {
					continue
				}
				for _, v := range []inbox.Viewer{ann, bob} {
					if _, _, err := s.Mark(ctx, v, n.ID, inbox.Archived); err != nil && job.CodeOf(err) != job.CodeNotFound {
						t.Fatal(err)
					}
				}
			}
		}
		for _, v := range []inbox.Viewer{ann, bob} {
			if _, err := s.MarkAll(ctx, v, inbox.Read); err != nil {
				t.Fatal(err)
			}
		}
		before, err := s.State(ctx, bob)
		if err != nil {
			t.Fatal(err)
		}
		rdb := testkit.Redis(t).Client()
		rooms := chat.New(chat.Options{Redis: rdb, Archive: s.Chats(), Push: deaf{}, Log: testkit.Logger(t)})
		for _, user := range []string{ann.User, bob.User} {
			for range 3 {
				if _, _, err := rooms.Send(ctx, chat.Draft{Room: "a", User: user, Text: "said by " + user, ClientID: string(job.NewID())}); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := rooms.Run(ctx, time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		p, err := delivery.PersonOf("ann@example.com", ann.User)
		if err != nil {
			t.Fatal(err)
		}
		d := delivery.New(delivery.Options{Store: s, Jobs: canceller{s}, Suppressions: s.Suppressions(), Chats: rooms})
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if got, err := d.Erase(ctx, p, "admin", ""); err != nil || got.Next != "" || got.Texts < 505 {
			t.Errorf("the erasure did %+v: %v", got, err)
		}
		left, err := rooms.History(ctx, chat.Query{Room: "a", Limit: 10})
		if err != nil || len(left.Messages) != 3 || left.Messages[0].User != bob.User {
			t.Errorf("the room has %+v: %v", left.Messages, err)
		}
		for _, line := range dump(t, url) {
			if strings.Contains(line, ann.User) {
				t.Errorf("still there: %s", line)
			}
		}
		after, err := s.State(ctx, bob)
		if err != nil || len(after.Streams) != len(before.Streams) || after.Streams[inbox.Everyone] != before.Streams[inbox.Everyone] || after.Version != before.Version {
			t.Errorf("another user stands at %+v (%v), stood at %+v", after, err, before)
		}
		if notes, err := s.After(ctx, "room:a", 0, 1000); err != nil || len(notes) != 20 {
			t.Errorf("the room has %d, %v", len(notes), err)
		}
		if n, _, err := s.Post(ctx, inbox.Notification{ID: job.NewID(), Stream: inbox.Of(ann.User), Type: "info", Message: "hello"}); err != nil || n.Seq != 1 {
			t.Errorf("what comes after is %+v, %v", n, err)
		}
	})
}
