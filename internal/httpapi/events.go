package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

const (
	// heartbeat is the longest silence of an event stream, so that proxies keep
	// it open and a client that is gone is noticed.
	heartbeat = 15 * time.Second
	// streamWrite bounds one write to a stream: a client that takes nothing for
	// as long is cut off.
	streamWrite = 10 * time.Second
	// askAgain is how long a reader's key is taken for good.
	askAgain = time.Second
	// streamRetry is how long a client waits before it comes back.
	streamRetry = 2 * time.Second
	// maxFiltered is the most values of one filter of an event stream.
	maxFiltered = 100
)

// eventsInput is the request of GET /events.
type eventsInput struct {
	LastEventID string   `header:"Last-Event-ID" doc:"the id of the last event that was received: the stream goes on behind it, as far back as retention keeps events. Browsers send it by themselves. Without it the stream begins with what happens from now on"`
	Type        []string `query:"type" example:"email:send" doc:"only of jobs of these types, with commas between"`
	Queue       []string `query:"queue" example:"email" doc:"only of jobs of these queues"`
	ID          []string `query:"id" doc:"only of these jobs"`
	State       []string `query:"state" enum:"waiting,running,held,done,failed,cancelled,expired,suppressed" doc:"only events after which the job was in one of these states"`
}

// streamedEvent is the data of an event in the stream.
type streamedEvent struct {
	JobID job.ID `json:"job_id"`
	Type  string `json:"type" example:"email:send"`
	Queue string `json:"queue" example:"email"`
	eventView
}

// eventFilter chooses events; an empty list chooses all.
type eventFilter struct {
	types, queues, ids, states map[string]bool
}

func (f eventFilter) takes(e *job.JobEvent) bool {
	return among(f.types, e.Type) && among(f.queues, e.Queue) && among(f.ids, string(e.Job)) && among(f.states, string(e.State))
}

func among(set map[string]bool, value string) bool { return len(set) == 0 || set[value] }

// filter reads the query, and the number to go on behind: -1 for none.
func (in *eventsInput) filter() (f eventFilter, after int64, err error) {
	var bad tasks.Invalid
	set := func(name string, values []string) map[string]bool {
		if len(values) > maxFiltered {
			bad.Add(name, fmt.Sprintf("has %d values, the most is %d", len(values), maxFiltered))
		}
		out := make(map[string]bool, len(values))
		for _, v := range values {
			out[v] = true
		}
		return out
	}
	f = eventFilter{types: set("type", in.Type), queues: set("queue", in.Queue), states: set("state", in.State), ids: map[string]bool{}}
	for id := range set("id", in.ID) {
		parsed, err := job.ParseID(id)
		if err != nil {
			bad.Add("id", "is not the id of a job")
			break
		}
		f.ids[string(parsed)] = true
	}
	after = -1
	if in.LastEventID != "" {
		if after, err = strconv.ParseInt(in.LastEventID, 10, 64); err != nil || after < 0 {
			bad.Add("Last-Event-ID", "is not the id of an event")
		}
	}
	if err := bad.OrNil(); err != nil {
		return f, 0, job.Invalid(err)
	}
	return f, after, nil
}

func (a *api) eventRoute(errs []int) {
	op := operation(huma.Operation{
		OperationID: "stream-events", Method: http.MethodGet, Path: "/events",
		Summary: "Follow what happens to jobs",
		Description: "Server-sent events (text/event-stream): each is a change of a job as its history shows it, with its number as id, in the order of their numbers; " +
			"none is left out, whichever process made it. A reader that is cut off, or too slow, comes back with Last-Event-ID and misses nothing. " +
			"Ephemeral jobs have no events.",
		Middlewares: huma.Middlewares{unhurried},
	}, auth.JobsRead, errs)
	op.Responses["200"] = &huma.Response{
		Description: "The stream; data is the schema given here. An id without data only moves the place to go on from.",
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[streamedEvent](), true, ""),
		}},
	}
	huma.Register(a.huma, op, a.followEvents)
}

// unhurried lifts the read deadline, which ends a request's context when it
// passes, off a request whose answer may take longer.
func unhurried(ctx huma.Context, next func(huma.Context)) {
	_, w := humachi.Unwrap(ctx)
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a writer without one needs none lifted
	next(ctx)
}

func (a *api) followEvents(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	filter, after, err := in.filter()
	if err != nil {
		return nil, a.told(ctx, err)
	}
	begin, cancel := context.WithTimeout(ctx, handleTimeout/3)
	defer cancel()
	follower, err := a.feed.Follow(begin, after)
	if err != nil {
		return nil, a.told(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer follower.Close()
		r, w := humachi.Unwrap(hc)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
		s := stream{w: w, control: http.NewResponseController(w), refused: func() error { return a.refusedNow(r) }, asked: time.Now()}
		if err := s.run(r.Context(), follower, filter); ctx.Err() == nil && !errors.Is(err, job.ErrFeedClosed) {
			a.log.Debug("an event stream ended", "err", err, "request_id", exchangeOf(ctx).id)
		}
	}}, nil
}

// stream writes server-sent events (HTML Standard section 9.2).
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	refused func() error // why its reader may not read on
	buf     bytes.Buffer
	wrote   time.Time // when it last did
	asked   time.Time // when refused last was
}

// refusedNow tells whether who opened a stream is refused by now, since the key
// was revoked or has expired. That nobody can tell ends no stream.
func (a *api) refusedNow(r *http.Request) error {
	who, err := a.callers.Authenticate(r)
	switch {
	case errors.Is(err, auth.ErrUnauthorized):
		return fmt.Errorf("asking for the reader's key again: %w", err)
	case err == nil && !who.May(auth.JobsRead):
		return fmt.Errorf("the reader's key has lost the scope %s", auth.JobsRead)
	}
	return nil
}

// run writes until the client leaves, is too slow, or no more events come: its
// error says which.
func (s *stream) run(ctx context.Context, follower *job.Follower, filter eventFilter) error {
	fmt.Fprintf(&s.buf, "retry: %d\n", streamRetry.Milliseconds())
	s.place(follower.At())
	if err := s.flush(); err != nil {
		return err
	}
	for {
		wait, cancel := context.WithDeadline(ctx, s.wrote.Add(heartbeat))
		events, err := follower.Next(wait)
		cancel()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return err
		}
		if time.Since(s.asked) >= askAgain {
			if err := s.refused(); err != nil {
				return err
			}
			s.asked = time.Now()
		}
		for i := range events {
			if e := &events[i]; filter.takes(e) {
				if err := s.event(e); err != nil {
					return err
				}
			}
		}
		if time.Since(s.wrote) >= heartbeat {
			s.place(follower.At())
		}
		if s.buf.Len() == 0 { // nothing but what the filter leaves out
			continue
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// place is an event without data: its reader hears nothing of it, and names
// this id when it comes back.
func (s *stream) place(seq int64) { fmt.Fprintf(&s.buf, "id: %d\n\n", seq) }

func (s *stream) event(e *job.JobEvent) error {
	text, err := encodeJSON(streamedEvent{JobID: e.Job, Type: e.Type, Queue: e.Queue, eventView: showEvent(&e.Event)})
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	fmt.Fprintf(&s.buf, "id: %d\ndata: %s\n\n", e.Seq, strings.TrimSuffix(string(text), "\n"))
	return nil
}

func (s *stream) flush() error {
	if err := s.control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return fmt.Errorf("bounding a write: %w", err)
	}
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	s.buf.Reset()
	s.wrote = time.Now()
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	return nil
}
