package inbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/postrider/postrider/internal/job"
)

// Bounds of what is asked.
const (
	MaxPage  = 200 // entries of a page, and notifications of all streams after their sequences
	MaxRooms = 500 // of a viewer
)

// Service answers for inboxes. It is safe for concurrent use.
type Service struct {
	store Store
	push  *Pusher
}

// NewService makes a Service that pushes changes of counts by push.
func NewService(store Store, push *Pusher) *Service { return &Service{store, push} }

// Post writes a notification that no job carries, which is pushed then: again
// says that one of its ID is there from before. Errors as of Store.Post.
func (s *Service) Post(ctx context.Context, n Notification) (written Notification, again bool, err error) {
	defer s.push.kept.Drop(ctx, n.Stream) // after an error too: it may have been committed
	return s.store.Post(ctx, n)
}

// Page is a part of an inbox, newest first.
type Page struct {
	Entries []Entry
	// Next is the place behind the last entry, where there are more.
	Next *Cursor
	// Counts are those of just before the entries were read.
	Counts Counts
}

// List returns a page of the viewer's inbox behind the place before. limit is 1
// to MaxPage. What is written while somebody goes from page to page is on none
// of those to come; nothing is on two.
func (s *Service) List(ctx context.Context, v Viewer, which Which, before Cursor, limit int) (Page, error) {
	state, err := s.store.State(ctx, v)
	if err != nil {
		return Page{}, err
	}
	page := Page{Counts: count(v, state)}
	for _, stream := range byNewest(state) {
		marks := state.Streams[stream]
		if full := len(page.Entries) > limit; full && marks.LastAt.Before(page.Entries[limit].CreatedAt) {
			break // neither this stream nor one of those behind it has any that is newer
		}
		if marks.Last == marks.Gone || which == OnlyUnread && marks.Unread == 0 {
			continue
		}
		more, err := s.store.Page(ctx, PageQuery{v.User, stream, marks, which, before, limit + 1})
		if err != nil {
			return Page{}, err
		}
		page.Entries = append(page.Entries, more...)
		slices.SortFunc(page.Entries, func(a, b Entry) int { return b.place().Compare(a.place()) })
		page.Entries = page.Entries[:min(len(page.Entries), limit+1)]
	}
	if len(page.Entries) > limit {
		page.Entries = page.Entries[:limit]
		next := page.Entries[limit-1].place()
		page.Next = &next
	}
	return page, nil
}

// byNewest lists the streams by the time of their newest notification, the
// latest first: most of them need not be read for a page.
func byNewest(state State) []string {
	out := make([]string, 0, len(state.Streams))
	for name := range state.Streams {
		out = append(out, name)
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(state.Streams[b].LastAt.Compare(state.Streams[a].LastAt), cmp.Compare(a, b))
	})
	return out
}

// Position is how far somebody has followed a stream.
type Position struct {
	Stream string
	Seq    int64
}

// Stretch is what follows a position.
type Stretch struct {
	Stream        string
	Notifications []Notification // oldest first
	// Through is how far the stream has been told of: every notification up to
	// it that is still kept has been given. It is below the position where the
	// stream has begun anew, after an erasure.
	Through int64
	// More says that there are more behind Through.
	More bool
}

// After tells what came after positions in streams of the viewer, in their
// order: at most MaxPage notifications together. A stream that is not in the
// viewer's inbox is a CodeNotFound.
func (s *Service) After(ctx context.Context, v Viewer, positions []Position) ([]Stretch, error) {
	streams := v.Streams()
	for _, p := range positions {
		if !slices.Contains(streams, p.Stream) {
			return nil, job.Errorf(job.CodeNotFound, "the inbox has no stream %q", p.Stream)
		}
	}
	state, err := s.store.State(ctx, v)
	if err != nil {
		return nil, err
	}
	left := MaxPage
	out := make([]Stretch, len(positions))
	for i, p := range positions {
		if out[i], err = s.after(ctx, p, state.Streams[p.Stream], left); err != nil {
			return nil, fmt.Errorf("reading what came after: %w", err)
		}
		left -= len(out[i].Notifications)
	}
	return out, nil
}

// after tells of one stream, at most limit notifications. Its sequence was read
// before them, so that none up to it can be missing.
func (s *Service) after(ctx context.Context, p Position, at StreamState, limit int) (Stretch, error) {
	if p.Seq > at.Last {
		p.Seq = 0 // it has begun anew
	}
	out := Stretch{Stream: p.Stream, Through: at.Last}
	if p.Seq == at.Last {
		return out, nil
	}
	if limit == 0 {
		out.Through, out.More = p.Seq, true
		return out, nil
	}
	var err error
	if out.Notifications, err = s.store.After(ctx, p.Stream, p.Seq, limit); err != nil {
		return out, err
	}
	if n := len(out.Notifications); n > 0 {
		last := out.Notifications[n-1].Seq
		out.More = n == limit && last < at.Last
		if n == limit || last > at.Last {
			out.Through = last
		}
	}
	return out, nil
}

// Counts says how much of an inbox is new.
type Counts struct {
	User    string
	Version int64 // of counts of the same streams those with the higher one are later
	Unread  int64
	Unseen  int64
	// Last is the sequence up to which each stream is counted. Streams without a
	// notification are at 0.
	Last map[string]int64
}

func count(v Viewer, state State) Counts {
	c := Counts{User: v.User, Version: state.Version, Last: map[string]int64{}}
	for _, stream := range v.Streams() {
		at := state.Streams[stream]
		c.Last[stream] = at.Last
		c.Unread += at.Unread
		c.Unseen += at.Unseen
	}
	return c
}

// Counts returns how much of the viewer's inbox is new.
func (s *Service) Counts(ctx context.Context, v Viewer) (Counts, error) {
	state, err := s.store.State(ctx, v)
	return count(v, state), err
}

// Mark marks one notification as Read or Archived and pushes the counts. Errors
// as of Store.Mark.
func (s *Service) Mark(ctx context.Context, v Viewer, id job.ID, as Mark) (Entry, Counts, error) {
	entry, state, err := s.store.Mark(ctx, v, id, as)
	s.push.kept.Drop(ctx, Of(v.User))
	if err != nil {
		return Entry{}, Counts{}, err
	}
	c := count(v, state)
	s.push.Marked(c)
	return entry, c, nil
}

// MarkAll marks all that is in the viewer's inbox and pushes the counts.
func (s *Service) MarkAll(ctx context.Context, v Viewer, as Mark) (Counts, error) {
	state, err := s.store.MarkAll(ctx, v, as)
	s.push.kept.Drop(ctx, Of(v.User))
	if err != nil {
		return Counts{}, err
	}
	c := count(v, state)
	s.push.Marked(c)
	return c, nil
}
