package chat

import (
	"context"
	"fmt"
	"slices"
)

// MaxPage is the most messages of a page.
const MaxPage = 200

// Query chooses messages of a room; zero fields do not.
type Query struct {
	Room          string
	Before, After ID       // exclusive
	Words         []string // all of these, as Words makes them
	Limit         int      // 1 to MaxPage, and one more of an Archive
}

// Page is a part of a room's history, newest first.
type Page struct {
	Messages []Message
	// Next asks for the page behind this one, as Before; zero where there is none.
	Next ID
}

const (
	scanPage = 500 // entries of a stream at once
	// scanLimit bounds those that a search looks at: a stream has as many only
	// while it is not archived.
	scanLimit = 10_000
)

// History returns a page of what was said. What is said, archived or deleted
// while somebody goes from page to page makes nothing that stays missing, or be
// there twice. Errors: InvalidError, those of Redis and of SQL.
func (s *Service) History(ctx context.Context, q Query) (Page, error) {
	if !ValidName(q.Room) || q.Limit < 1 || q.Limit > MaxPage {
		return Page{}, InvalidError{"room", "has no such history"}
	}
	q.Limit++ // to see whether there are more
	// The stream first: what leaves it before it is read is in SQL by then.
	found, next, err := s.recent(ctx, q)
	if err != nil {
		return Page{}, fmt.Errorf("reading a room's stream: %w", err)
	}
	if len(found) < q.Limit && next.IsZero() {
		older, err := s.archive.Page(ctx, q)
		if err != nil {
			return Page{}, err
		}
		found = merge(found, older)
	}
	if len(found) >= q.Limit {
		found = found[:q.Limit-1]
		next = found[len(found)-1].ID
	}
	return Page{found, next}, nil
}

// merge is both in one order, newest first, each message once.
func merge(a, b []Message) []Message {
	out := slices.Concat(a, b)
	slices.SortStableFunc(out, func(x, y Message) int { return y.ID.Compare(x.ID) })
	return slices.CompactFunc(out, func(x, y Message) bool { return x.ID == y.ID })
}

// recent is what the stream has, newest first. Where it ends before the stream
// does, next is up to where it has looked.
func (s *Service) recent(ctx context.Context, q Query) (found []Message, next ID, err error) {
	stream, from := keysOf(q.Room)[0], "-"
	if !q.After.IsZero() {
		from = "(" + q.After.String()
	}
	count := q.Limit
	if len(q.Words) > 0 {
		count = scanPage
	}
	before := q.Before
	for looked := 0; looked < scanLimit; looked += count {
		till := "+"
		if !before.IsZero() {
			till = "(" + before.String()
		}
		entries, err := s.redis.XRevRangeN(ctx, stream, till, from, int64(count)).Result()
		if err != nil {
			return nil, ID{}, err
		}
		for _, x := range entries {
			m, err := entry(q.Room, x)
			if err != nil {
				return nil, ID{}, err
			}
			before = m.ID
			if hasWords(m.Text, q.Words) {
				found = append(found, m)
			}
		}
		if len(found) >= q.Limit || len(entries) < count {
			return found, ID{}, nil
		}
	}
	return found, before, nil
}
