package inboxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// Store is what Property proves.
type Store interface {
	inbox.Store
	inbox.Pruner
}

// Clock is a store's clock that a test moves.
type Clock interface {
	Now() time.Time
	Advance(time.Duration)
}

const (
	propSteps = 40
	propKeep  = 5 * 24 * time.Hour
)

var (
	propStreams = []string{"user:a", "user:b", "room:x", "room:y", "room:z", inbox.Everyone}
	propViewers = []inbox.Viewer{
		{User: "a", Rooms: []string{"x"}}, {User: "a", Rooms: []string{"y", "x", "y"}}, {User: "b", Rooms: []string{"y"}}, {User: "b"}, {User: "c", Rooms: []string{"z"}},
	}
	propWhich = []inbox.Which{inbox.Current, inbox.OnlyUnread, inbox.OnlyArchived}
)

// Property drives a store, which empty empties, through random histories beside
// the model: whatever is asked is answered alike. checks is the number of
// histories.
func Property(t *testing.T, store Store, clock Clock, empty func(), checks int) {
	testkit.Rapid(t, checks, propSteps)
	rapid.Check(t, func(rt *rapid.T) {
		empty()
		model := NewMemory(clock.Now)
		w := &world{
			ctx: t.Context(), clock: clock, store: store, model: model,
			real: inbox.NewService(store, unheard(t)), ideal: inbox.NewService(model, unheard(t)),
		}
		rt.Repeat(map[string]func(*rapid.T){
			"":           w.look,
			"post":       w.post,
			"post more":  w.post,
			"post again": w.postAgain,
			"mark":       w.mark,
			"mark all":   w.markAll,
			"advance":    func(rt *rapid.T) { clock.Advance(rapid.SampledFrom(propAdvances).Draw(rt, "by")) },
			"prune":      w.prune,
		})
	})
}

var propAdvances = []time.Duration{time.Millisecond, time.Second, 24 * time.Hour, 2 * 24 * time.Hour}

// unheard is a Pusher that nobody listens to.
func unheard(t *testing.T) *inbox.Pusher {
	p, err := inbox.NewPusher(nil, inbox.NothingKept{}, testkit.Logger(t), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is one history.
type world struct {
	ctx         context.Context
	clock       Clock
	store       Store
	model       *Memory
	real, ideal *inbox.Service
	posted      []inbox.Notification
}

func (w *world) post(rt *rapid.T) {
	n := inbox.Notification{ID: job.NewID(), Stream: rapid.SampledFrom(propStreams).Draw(rt, "stream"), Type: "info", Message: fmt.Sprintf("number %d", len(w.posted))}
	if rapid.Bool().Draw(rt, "data") {
		n.Data = json.RawMessage(`{"a": [1, "ü"]}`)
	}
	w.posted = append(w.posted, n)
	w.same(rt, n)
}

// same posts the notification to both.
func (w *world) same(rt *rapid.T, n inbox.Notification) {
	got, gotAgain, gotErr := w.real.Post(w.ctx, n)
	want, wantAgain, wantErr := w.ideal.Post(w.ctx, n)
	alike(rt, "posting", []any{got, gotAgain, job.CodeOf(gotErr)}, []any{want, wantAgain, job.CodeOf(wantErr)})
}

func (w *world) postAgain(rt *rapid.T) {
	if len(w.posted) == 0 {
		return
	}
	n := rapid.SampledFrom(w.posted).Draw(rt, "which")
	if rapid.Bool().Draw(rt, "changed") {
		n.Message += " changed"
	}
	w.same(rt, n)
}

func (w *world) mark(rt *rapid.T) {
	id := job.NewID() // nobody's
	if len(w.posted) > 0 {
		id = rapid.SampledFrom(w.posted).Draw(rt, "which").ID
	}
	v, as := rapid.SampledFrom(propViewers).Draw(rt, "viewer"), rapid.SampledFrom([]inbox.Mark{inbox.Read, inbox.Archived}).Draw(rt, "as")
	got, gotCounts, gotErr := w.real.Mark(w.ctx, v, id, as)
	want, wantCounts, wantErr := w.ideal.Mark(w.ctx, v, id, as)
	alike(rt, "marking", []any{got, gotCounts, job.CodeOf(gotErr)}, []any{want, wantCounts, job.CodeOf(wantErr)})
}

func (w *world) markAll(rt *rapid.T) {
	v, as := rapid.SampledFrom(propViewers).Draw(rt, "viewer"), rapid.SampledFrom([]inbox.Mark{inbox.Seen, inbox.Read, inbox.Archived}).Draw(rt, "as")
	got, gotErr := w.real.MarkAll(w.ctx, v, as)
	want, wantErr := w.ideal.MarkAll(w.ctx, v, as)
	alike(rt, "marking all", []any{got, job.CodeOf(gotErr)}, []any{want, job.CodeOf(wantErr)})
}

func (w *world) prune(rt *rapid.T) {
	w.model.Prune(propKeep)
	for after := ""; ; {
		n, next, err := w.store.PruneOld(w.ctx, propKeep, after, 3)
		if err != nil {
			rt.Fatalf("pruning: %v", err)
		}
		if after = next; n < 3 {
			return
		}
	}
}

// look asks for what a viewer can see: counts, all pages, what came after
// sequences.
func (w *world) look(rt *rapid.T) {
	v := rapid.SampledFrom(propViewers).Draw(rt, "viewer")
	got, gotErr := w.real.Counts(w.ctx, v)
	want, wantErr := w.ideal.Counts(w.ctx, v)
	alike(rt, "counting", []any{got, job.CodeOf(gotErr)}, []any{want, job.CodeOf(wantErr)})

	which, limit := rapid.SampledFrom(propWhich).Draw(rt, "which"), rapid.IntRange(1, 4).Draw(rt, "limit")
	entries := 0
	for before, more := inbox.Newest, true; more; {
		got, gotErr := w.real.List(w.ctx, v, which, before, limit)
		want, wantErr := w.ideal.List(w.ctx, v, which, before, limit)
		alike(rt, "listing", []any{got, job.CodeOf(gotErr)}, []any{want, job.CodeOf(wantErr)})
		entries += len(got.Entries)
		if more = got.Next != nil; more {
			var err error
			if before, err = inbox.ParseCursor(got.Next.String()); err != nil {
				rt.Fatalf("the cursor %s: %v", got.Next, err)
			}
		}
	}
	if which == inbox.OnlyUnread && int64(entries) != got.Unread {
		rt.Errorf("%d are unread, and %d are listed", got.Unread, entries)
	}

	var from []inbox.Position
	for _, stream := range v.Streams() {
		from = append(from, inbox.Position{Stream: stream, Seq: rapid.Int64Range(0, 12).Draw(rt, "after")})
	}
	gotAfter, gotErr := w.real.After(w.ctx, v, from)
	wantAfter, wantErr := w.ideal.After(w.ctx, v, from)
	alike(rt, "asking after", []any{gotAfter, job.CodeOf(gotErr)}, []any{wantAfter, job.CodeOf(wantErr)})
	if _, err := w.real.After(w.ctx, v, []inbox.Position{{Stream: "room:none"}}); job.CodeOf(err) != job.CodeNotFound {
		rt.Errorf("a strange stream: %v", err)
	}
}

// alike compares answers in their JSON.
func alike(rt *rapid.T, what string, got, want []any) {
	g, err := json.Marshal(got)
	if err != nil {
		rt.Fatal(err)
	}
	w, err := json.Marshal(want)
	if err != nil {
		rt.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		rt.Fatalf("%s:\ngot  %s\nwant %s", what, g, w)
	}
}
