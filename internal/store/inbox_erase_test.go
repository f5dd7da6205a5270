package store_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
)

// An erasure takes the inbox of the user that it names, whether jobs are left
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
		p, err := delivery.PersonOf("ann@example.com", ann.User)
		if err != nil {
			t.Fatal(err)
		}
		d := delivery.New(delivery.Options{Store: s, Jobs: canceller{s}, Suppressions: s.Suppressions()})
		if got, err := d.Erase(ctx, p, "admin", ""); err != nil || got.Next != "" || got.Texts < 505 {
			t.Errorf("the erasure did %+v: %v", got, err)
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
