package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// engineEvery is how long a look at Redis is good for, however many pages
	// ask: asynq's GetQueueInfo also estimates the memory that a queue takes.
	engineEvery = 3 * time.Second
	// engineLimit bounds one look.
	engineLimit = 3 * time.Second
)

// engine tells what Redis holds.
type engine struct {
	rdb    redis.UniversalClient
	queues []string

	mu   sync.Mutex // held while looking: pages at the same moment share it
	at   time.Time
	seen engineView
}

// engineView is the overview's part that Redis tells.
type engineView struct {
	Queues  []queueView
	Workers []workerView
	Err     error // why there is nothing else
}

type queueView struct {
	Name                              string
	Pending, Active, Scheduled, Retry int
	Oldest                            time.Duration // that the oldest pending task has waited
	Paused                            bool
}

// workerView is one worker process.
type workerView struct {
	Host    string
	PID     int
	Queues  string // each with its concurrency
	Running int    // tasks
	Slots   int    // that it can run at a time
	Started time.Time
}

func newEngine(rdb redis.UniversalClient, queues []string) *engine {
	return &engine{rdb: rdb, queues: queues}
}

// look returns a view that is at most engineEvery old. An outage is remembered
// as long, lest each page wait for Redis.
func (e *engine) look() engineView {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.at.IsZero() && time.Since(e.at) < engineEvery {
		return e.seen
	}
	// Not a request's context: the answer is for the others too.
	ctx, cancel := context.WithTimeout(context.Background(), engineLimit)
	defer cancel()
	var v engineView
	if v.Queues, v.Err = e.countQueues(ctx); v.Err == nil {
		v.Workers, v.Err = e.listWorkers(ctx)
	}
	e.at, e.seen = time.Now(), v
	return v
}

func (e *engine) countQueues(ctx context.Context) ([]queueView, error) {
	asynq := inspector(ctx, e.rdb)
	known, err := asynq.Queues() // those that ever had a task
	if err != nil {
		return nil, fmt.Errorf("listing the queues: %w", err)
	}
	views := make([]queueView, len(e.queues))
	for i, name := range e.queues {
		views[i].Name = name
		if !slices.Contains(known, name) {
			continue
		}
		info, err := asynq.GetQueueInfo(name)
		if err != nil {
			return nil, fmt.Errorf("counting queue %s: %w", name, err)
		}
		views[i] = queueView{
			Name: name, Pending: info.Pending, Active: info.Active, Scheduled: info.Scheduled, Retry: info.Retry,
			Oldest: info.Latency, Paused: info.Paused,
		}
	}
	return views, nil
}

// listWorkers groups asynq's servers by process: a worker has one a queue.
func (e *engine) listWorkers(ctx context.Context) ([]workerView, error) {
	servers, err := inspector(ctx, e.rdb).Servers()
	if err != nil {
		return nil, fmt.Errorf("listing the workers: %w", err)
	}
	type process struct {
		host string
		pid  int
	}
	views := map[process]*workerView{}
	queues := map[process][]string{}
	for _, s := range servers {
		p := process{s.Host, s.PID}
		v := views[p]
		if v == nil {
			v = &workerView{Host: s.Host, PID: s.PID, Started: s.Started}
			views[p] = v
		}
		v.Running += len(s.ActiveWorkers)
		if s.Started.Before(v.Started) {
			v.Started = s.Started
		}
		// A server of ours has one queue, and tells that queue's concurrency as
		// its priority: asynq's own count includes tasks whose work is over.
		for q, concurrency := range s.Queues {
			v.Slots += concurrency
			queues[p] = append(queues[p], q+" "+strconv.Itoa(concurrency))
		}
	}
	var out []workerView
	for p, v := range views {
		slices.Sort(queues[p])
		v.Queues = strings.Join(queues[p], ", ")
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b workerView) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID))
	})
	return out, nil
}
