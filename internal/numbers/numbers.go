// Package numbers tells how the whole fleet does, second by second: what is
// queued, what happens to jobs and how fast, who works and who is connected.
//
// Everything comes from SQL and Redis, so that all processes tell the same. A
// Collector looks once a second while somebody watches, however many they are,
// and every ten seconds otherwise; it keeps the last five minutes. Events are
// counted by the second that they bear, which SQL still knows afterwards, so that
// rates have no gaps; queues are known for the moments at which they were counted,
// and stand until the next.
package numbers

import (
	"context"
	"time"
)

// Sample is what is told of one second. A part that cannot be told is null, and
// Problems says why, by the part's name.
type Sample struct {
	At          int64             `json:"at"` // when the second begins, in Unix milliseconds, by the database's clock
	Queues      []Queue           `json:"queues"`
	Rates       *Rates            `json:"rates"`
	Latency     *Latency          `json:"latency"` // null also while no run ends
	Connections *Connections      `json:"connections"`
	Workers     *Workers          `json:"workers"`
	Problems    map[string]string `json:"problems,omitempty"`
}

// Queue is how many tasks Redis has in a queue.
type Queue struct {
	Name      string `json:"name"`
	Pending   int64  `json:"pending"`
	Active    int64  `json:"active"`
	Scheduled int64  `json:"scheduled"`
	Retry     int64  `json:"retry"`
	Paused    bool   `json:"paused"`
	OldestMS  int64  `json:"oldest_ms"` // that the oldest pending task has waited; 0 when none is
	// Processed is how many tasks ended a second since the count before, ephemeral
	// ones too, of which SQL does not know; null where there is none to compare with.
	Processed *float64 `json:"processed"`
}

// Oldest is OldestMS as a duration.
func (q Queue) Oldest() time.Duration { return time.Duration(q.OldestMS) * time.Millisecond }

// Rates are the events of durable jobs in the second.
type Rates struct {
	Accepted int64 `json:"accepted"`
	Started  int64 `json:"started"`
	Done     int64 `json:"done"`
	Failed   int64 `json:"failed"`  // for good
	Retried  int64 `json:"retried"` // runs that ended with another to come
	Dropped  int64 `json:"dropped"` // cancelled, expired or suppressed
}

// Latency is of the durable jobs whose runs ended in the ten seconds up to the
// sample's, in milliseconds: how long they waited beyond the time at which they
// were due, and how long they ran.
type Latency struct {
	WaitP50 int64 `json:"wait_p50"`
	WaitP99 int64 `json:"wait_p99"`
	RunP50  int64 `json:"run_p50"`
	RunP99  int64 `json:"run_p99"`
}

// Connections are the live ones, of all api processes.
type Connections struct {
	Sockets   int64 `json:"sockets"`
	Users     int64 `json:"users"`
	Processes int64 `json:"processes"`
}

// Workers sums up the worker processes.
type Workers struct {
	Processes int64 `json:"processes"`
	Running   int64 `json:"running"` // tasks
	Slots     int64 `json:"slots"`   // that they can run at a time
}

// Worker is one worker process.
type Worker struct {
	Host    string
	PID     int
	Queues  string // each with its concurrency
	Running int    // tasks
	Slots   int    // that it can run at a time
	Started time.Time
}

// Count is what Redis says of a queue at one moment.
type Count struct {
	Queue                                       string
	Pending, Active, Scheduled, Retry, Archived int64
	Paused                                      bool
	Oldest                                      time.Duration // that the oldest pending task has waited
	Processed                                   int64         // tasks that ended, ever
}

// Engine looks at Redis; a *broker.Census does.
type Engine interface {
	// Count counts the queues, in their order, in few round trips.
	Count(ctx context.Context) ([]Count, error)
	// Workers lists the worker processes. It is costlier, and workers say how they
	// do every five seconds.
	Workers(ctx context.Context) ([]Worker, error)
}

// Log counts jobs' events; a *store.Store does.
type Log interface {
	// EventsEnd returns the highest number of an event, 0 where there is none.
	EventsEnd(ctx context.Context) (seq, mark int64, err error)
	// Tally counts the events of the span whose numbers are above after.
	Tally(ctx context.Context, after int64, from, to Second) (Tally, error)
}

// Second is a second of the database's clock, since 1970.
type Second int64

// Tally is what happened in a span of seconds: from, up to before to.
type Tally struct {
	Now time.Time // of the database
	End int64     // the highest number of an event, of any second
	// Seconds has those in which anything happened.
	Seconds map[Second]*Rates
	// Runs are those that ended last in the span, as many as MostRuns.
	Runs []Run
}

// MostRuns bounds the runs of a Tally.
const MostRuns = 500

// Run is one that ended.
type Run struct {
	At   Second
	Wait time.Duration // beyond the time at which it was due; below zero where that is not known any more
	Took time.Duration
}
