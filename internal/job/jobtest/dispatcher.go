package jobtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/postrider/postrider/internal/job"
)

// Dispatcher is a job.Dispatcher that keeps the tasks in memory, as a Redis
// that a test can take away and flush.
type Dispatcher struct {
	mu        sync.Mutex
	held      map[string]job.Task // by TaskID: what it knows
	taken     map[string]bool     // TaskIDs in use, by tasks that are over too
	sent      []job.Task
	withdrawn []job.Task
	hints     []job.ID
	err       error
	failAfter int // Dispatch lets that many more arrive; negative for no bound
	lives     int // flushes so far; as text the mark of Lost
	restored  map[string]int
	arrival   chan struct{} // closed and made anew when sent grows
}

var _ job.Dispatcher = (*Dispatcher)(nil)

// NewDispatcher makes an empty one that works.
func NewDispatcher() *Dispatcher {
	return &Dispatcher{
		held: map[string]job.Task{}, taken: map[string]bool{}, restored: map[string]int{},
		failAfter: -1, arrival: make(chan struct{}),
	}
}

// Fail lets all calls fail with err, as CodeTemporary, until Fail(nil).
func (d *Dispatcher) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.failAfter = err, -1
}

// FailAfter lets n more tasks arrive and then fails as Fail does.
func (d *Dispatcher) FailAfter(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.failAfter = err, n
}

// Flush forgets all tasks; each queue is Lost until it is Restored.
func (d *Dispatcher) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.held)
	clear(d.taken)
	d.lives++
}

// Forget drops tasks, as an acknowledgement or a dead worker does. Their
// TaskIDs stay taken until Flush, as asynq keeps those of tasks that are
// completed, archived or orphaned: a task of that name sent later arrives,
// and nothing comes of it.
func (d *Dispatcher) Forget(tasks ...job.Task) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range tasks {
		delete(d.held, t.TaskID())
	}
}

// Tasks lists the tasks that it holds, by their TaskIDs.
func (d *Dispatcher) Tasks() []job.Task {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]job.Task, 0, len(d.held))
	for _, id := range slices.Sorted(maps.Keys(d.held)) {
		out = append(out, d.held[id])
	}
	return out
}

// Sent lists the tasks that have ever arrived, in their order.
func (d *Dispatcher) Sent() []job.Task {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.sent)
}

// Withdrawn lists the tasks that were to be removed, in their order.
func (d *Dispatcher) Withdrawn() []job.Task {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.withdrawn)
}

// Hints lists the jobs whose cancellation was hinted at, in their order.
func (d *Dispatcher) Hints() []job.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.hints)
}

// WaitSent waits until n tasks have arrived, and lists them.
func (d *Dispatcher) WaitSent(ctx context.Context, n int) ([]job.Task, error) {
	for {
		d.mu.Lock()
		sent, arrival := slices.Clone(d.sent), d.arrival
		d.mu.Unlock()
		if len(sent) >= n {
			return sent, nil
		}
		select {
		case <-arrival:
		case <-ctx.Done():
			return sent, fmt.Errorf("waiting for %d tasks, %d have arrived: %w", n, len(sent), context.Cause(ctx))
		}
	}
}

// failure is the settled failure with its code. The lock is held.
func (d *Dispatcher) failure(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return job.Wrap(job.CodeTemporary, ctx.Err(), "redis did not answer")
	case d.err != nil && d.failAfter <= 0:
		return job.Wrap(job.CodeTemporary, d.err, "redis cannot be reached")
	}
	return nil
}

// Dispatch implements job.Dispatcher.
func (d *Dispatcher) Dispatch(ctx context.Context, tasks []job.Task) ([]job.Task, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var arrived []job.Task
	for _, t := range tasks {
		if err := d.failure(ctx); err != nil {
			return arrived, err
		}
		d.failAfter = max(d.failAfter-1, -1)
		arrived = append(arrived, t)
		if id := t.TaskID(); !d.taken[id] {
			d.held[id], d.taken[id] = t, true
		}
		d.sent = append(d.sent, t)
		close(d.arrival)
		d.arrival = make(chan struct{})
	}
	return arrived, nil
}

// Withdraw implements job.Dispatcher.
func (d *Dispatcher) Withdraw(ctx context.Context, tasks []job.Task) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure(ctx) != nil {
		return
	}
	d.withdrawn = append(d.withdrawn, tasks...)
	for _, t := range tasks {
		delete(d.held, t.TaskID())
		delete(d.taken, t.TaskID())
	}
}

// HintCancel implements job.Dispatcher.
func (d *Dispatcher) HintCancel(ctx context.Context, id job.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure(ctx) == nil {
		d.hints = append(d.hints, id)
	}
}

// Look implements job.Dispatcher.
func (d *Dispatcher) Look(ctx context.Context, tasks []job.Task) ([]job.Presence, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure(ctx); err != nil {
		return nil, err
	}
	found := make([]job.Presence, len(tasks))
	for i, t := range tasks {
		_, held := d.held[t.TaskID()]
		switch {
		case held:
			found[i] = job.Known
		case d.taken[t.TaskID()]:
			found[i] = job.Stuck
		}
	}
	return found, nil
}

// Heal implements job.Dispatcher: nothing leaks here.
func (d *Dispatcher) Heal(ctx context.Context, _ string) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return 0, d.failure(ctx)
}

// Lost implements job.Dispatcher.
func (d *Dispatcher) Lost(ctx context.Context, queue, _ string) (string, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure(ctx); err != nil {
		return "", false, err
	}
	return strconv.Itoa(d.lives), d.restored[queue] != d.lives, nil
}

// Restored implements job.Dispatcher.
func (d *Dispatcher) Restored(ctx context.Context, queue, mark string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure(ctx); err != nil {
		return err
	}
	life, err := strconv.Atoi(mark)
	if err != nil {
		return job.Errorf(job.CodeInternal, "mark %q was not given by Lost", mark)
	}
	d.restored[queue] = life
	return nil
}

// FindEphemeral implements job.Dispatcher.
func (d *Dispatcher) FindEphemeral(ctx context.Context, id job.ID) (job.Job, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure(ctx); err != nil {
		return job.Job{}, err
	}
	t, ok := d.held[string(id)]
	if !ok || t.Dispatch != 0 {
		return job.Job{}, notFound(id)
	}
	return job.Job{
		ID: t.ID, Type: t.Type, Queue: t.Queue, RunAt: t.RunAt, Payload: t.Payload,
		State: job.Waiting, Ephemeral: true,
	}, nil
}

// CancelEphemeral implements job.Dispatcher.
func (d *Dispatcher) CancelEphemeral(ctx context.Context, id job.ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure(ctx); err != nil {
		return err
	}
	delete(d.held, string(id))
	return nil
}
