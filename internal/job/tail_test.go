package job

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ledger is an EventLog whose transactions the test begins and ends: it has
// numbers, and shows what is committed, as PostgreSQL does.
type ledger struct {
	lastSeq, lastTx int64
	open            map[int64][]int64 // the events of those under way
	seen            []int64           // that are committed
	fail            bool
}

func (l *ledger) EventsAfter(_ context.Context, seq int64, limit int) (EventPage, error) {
	if l.fail {
		return EventPage{}, errors.New("the database is away")
	}
	page := EventPage{Over: l.lastTx + 1}
	for tx := range l.open {
		page.Over = min(page.Over, tx)
	}
	slices.Sort(l.seen)
	for _, s := range l.seen {
		if s > seq && len(page.Events) < limit {
			page.Events = append(page.Events, JobEvent{Event: Event{Seq: s}})
		}
	}
	return page, nil
}

func (l *ledger) EventsEnd(context.Context) (seq, mark int64, err error) {
	if l.fail {
		return 0, 0, errors.New("the database is away")
	}
	if len(l.seen) > 0 {
		seq = slices.Max(l.seen)
	}
	l.lastTx++ // of the question itself, which is over at once
	return seq, l.lastTx, nil
}

// TestTailPassesNothingOver lets transactions take numbers, commit and roll back
// in any order, with a tail reading in between: it tells every event that is
// committed behind where it began, once and in order.
func TestTailPassesNothingOver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger{open: map[int64][]int64{}}
		reader := &tail{log: l}
		began, told := int64(-1), []int64(nil)
		look := func() {
			if !reader.begun {
				if begun, _ := reader.begin(t.Context()); begun {
					began = reader.at
				}
				return
			}
			events, _, _ := reader.next(t.Context())
			for _, e := range events {
				told = append(told, e.Seq)
			}
			for tx, seqs := range l.open {
				for _, seq := range seqs {
					if seq <= reader.at {
						t.Fatalf("it is at %d while transaction %d may still commit %d", reader.at, tx, seq)
					}
				}
			}
		}
		end := func(tx int64, commit bool) {
			if commit {
				l.seen = append(l.seen, l.open[tx]...)
			}
			delete(l.open, tx)
		}
		withOne := func(do func(tx int64)) func(*rapid.T) {
			return func(t *rapid.T) {
				if len(l.open) > 0 {
					do(rapid.SampledFrom(slices.Sorted(maps.Keys(l.open))).Draw(t, "transaction"))
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(*rapid.T) { l.lastTx++; l.open[l.lastTx] = nil },
			"write": withOne(func(tx int64) {
				l.lastSeq++
				l.open[tx] = append(l.open[tx], l.lastSeq)
			}),
			"commit":   withOne(func(tx int64) { end(tx, true) }),
			"rollback": withOne(func(tx int64) { end(tx, false) }),
			"read":     func(*rapid.T) { look() },
			"fail":     func(*rapid.T) { l.fail = true; look(); l.fail = false },
		})
		for tx := range l.open {
			end(tx, true)
		}
		for range 4 { // begin, find a gap, give it up, read
			look()
		}
		var want []int64
		slices.Sort(l.seen)
		for _, seq := range l.seen {
			if seq > began {
				want = append(want, seq)
			}
		}
		if !slices.Equal(told, want) {
			t.Fatalf("it began behind %d and told %v of %v", began, told, want)
		}
	})
}
