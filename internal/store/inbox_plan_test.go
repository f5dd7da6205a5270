package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/store"
)

// fillInbox writes n notifications to everyone, some for a hundred users, and
// marks of each, and has the database look at them.
func fillInbox(t testing.TB, url string, n int) {
	t.Helper()
	db := raw(t, url)
	numbers := fmt.Sprintf("WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < %d)", n)
	id := "printf('%08x-0000-7000-8000-000000000000', i)"
	if strings.HasPrefix(url, "postgres") {
		id = "(lpad(to_hex(i), 8, '0') || '-0000-7000-8000-000000000000')::uuid"
	}
	for _, q := range []string{
		fmt.Sprintf("INSERT INTO streams (name, last_seq, last_at) VALUES ('everyone', %d, %d)", n, n),
		numbers + " INSERT INTO notifications (stream, seq, id, type, message, created_at) SELECT 'everyone', i, " + id + ", 'info', 'hello', i FROM k",
		numbers + " INSERT INTO inbox_marks SELECT 'u' || i, 'everyone', i - 10, i - 20, i - 40 FROM k WHERE i % 1000 = 0",
		numbers + " INSERT INTO inbox_exceptions SELECT 'u' || i, 'everyone', i - 5, FALSE FROM k WHERE i % 4 = 0",
		"ANALYZE",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInboxPlans holds that nothing that a user asks of an inbox makes the
// database go through a stream, or through what others have marked.
func TestInboxPlans(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, url, store.Options{})
		const n = 20_000
		fillInbox(t, url, n)
		v := inbox.Viewer{User: fmt.Sprintf("u%d", n), Rooms: []string{"a", "b"}}
		state, err := s.State(t.Context(), v)
		if at := state.Streams[inbox.Everyone]; err != nil || at.Unread != 19 || at.Unseen != 9 || at.Last != n {
			t.Errorf("the state is %+v, %v", state, err)
		}
		plans := map[string]string{}
		if plans["counts"], err = s.ExplainState(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		for _, which := range []inbox.Which{inbox.Current, inbox.OnlyUnread, inbox.OnlyArchived} {
			q := inbox.PageQuery{User: "new", Stream: inbox.Everyone, Which: which, Before: inbox.Newest, Limit: 50}
			if plans["page of "+string(which)], err = s.ExplainPage(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		for name, plan := range plans {
			for _, whole := range []string{"Seq Scan on notifications", "Seq Scan on inbox_exceptions", "SCAN n", "SCAN e", "Sort", "TEMP B-TREE"} {
				if strings.Contains(plan, whole) {
					t.Errorf("%s: %s\n%s", name, whole, plan)
				}
			}
		}
	})
}

// BenchmarkInbox asks for the counts and the first page of inboxes in a stream of
// a million notifications: one whose user has read nearly all, and one whose user
// has read none.
func BenchmarkInbox(b *testing.B) {
	const n = 1_000_000
	for _, db := range databases {
		url := db.url(b)
		s := open(b, url, store.Options{})
		fillInbox(b, url, n)
		for name, v := range map[string]inbox.Viewer{"all but a few read": {User: fmt.Sprintf("u%d", n)}, "none read": {User: "new"}} {
			b.Run(db.name+"/counts/"+name, func(b *testing.B) {
				for b.Loop() {
					if _, err := s.State(b.Context(), v); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(db.name+"/unread page/"+name, func(b *testing.B) {
				state, err := s.State(b.Context(), v)
				if err != nil {
					b.Fatal(err)
				}
				q := inbox.PageQuery{User: v.User, Stream: inbox.Everyone, Marks: state.Streams[inbox.Everyone], Which: inbox.OnlyUnread, Before: inbox.Newest, Limit: 50}
				for b.Loop() {
					if _, err := s.Page(b.Context(), q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
