package job

import (
	"context"
	"fmt"
)

// EventLog is the side of Store that tells of all jobs' events in the order of
// their numbers. An event takes its number before its transaction commits, so a
// lower one can come to light after a higher one. To tell such a gap from a
// number that will never be, transactions are numbered here too.
type EventLog interface {
	// EventsAfter returns the events behind seq that are to be seen now, in
	// their order, at most limit.
	EventsAfter(ctx context.Context, seq int64, limit int) (EventPage, error)
	// EventsEnd returns the highest number that is to be seen now, 0 where there
	// is none, and a mark: of every event up to it that may still come to light
	// the transaction has a number below the mark.
	EventsEnd(ctx context.Context) (seq, mark int64, err error)
}

// EventPage is what EventsAfter sees at one moment.
type EventPage struct {
	Events []JobEvent
	// Over is a transaction number: those below it had ended at that moment.
	Over int64
}

// JobEvent is an event with what it is chosen by.
type JobEvent struct {
	Event
	Type  string // this and Queue are empty once retention took the job
	Queue string
}

// tailPage is how many events are read at once.
const tailPage = 1000

// tail reads the end of the log and passes no event over: it goes on behind a
// gap only when no transaction can fill it any more. It is for one goroutine.
type tail struct {
	log   EventLog
	begun bool
	at    int64 // every event up to this number has been read, or will never be; of begun ones
	// fence and mark are what EventsEnd said when the end was looked for, or a
	// gap met: the log is whole up to fence once the transactions below mark are
	// over. A fence at or below at is of no meaning.
	fence, mark int64
}

// begin looks for the log's end and reports whether it is known.
func (t *tail) begin(ctx context.Context) (bool, error) {
	if t.mark == 0 {
		if err := t.raise(ctx); err != nil {
			return false, err
		}
	}
	page, err := t.log.EventsAfter(ctx, t.fence, 1)
	if err != nil {
		return false, fmt.Errorf("looking for the end of the events: %w", err)
	}
	t.begun, t.at = page.Over >= t.mark, t.fence
	return t.begun, nil
}

// raise sets the fence to what is to be seen now.
func (t *tail) raise(ctx context.Context) (err error) {
	t.fence, t.mark, err = t.log.EventsEnd(ctx)
	if err != nil {
		return fmt.Errorf("asking for the last event: %w", err)
	}
	return nil
}

// next reads the events that follow, and reports whether there may be more
// right now. Events that it returns with an error are good.
func (t *tail) next(ctx context.Context) (events []JobEvent, more bool, err error) {
	page, err := t.log.EventsAfter(ctx, t.at, tailPage)
	if err != nil {
		return nil, false, fmt.Errorf("reading new events: %w", err)
	}
	fenced := t.fence > t.at
	whole := t.at
	if fenced && page.Over >= t.mark {
		whole = t.fence
	}
	for _, e := range page.Events {
		if e.Seq > max(t.at, whole)+1 { // a gap
			break
		}
		t.at = e.Seq
		events = append(events, e)
	}
	full, gap := len(page.Events) == tailPage, len(events) < len(page.Events)
	if gap || !full {
		t.at = max(t.at, whole)
	}
	if gap && t.fence <= t.at {
		return events, true, t.raise(ctx)
	}
	return events, full && !gap, nil
}
