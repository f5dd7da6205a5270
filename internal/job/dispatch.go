package job

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Dispatcher is the port to the engine. Its errors carry CodeTemporary when
// Redis cannot be reached.
type Dispatcher interface {
	// Dispatch sends the tasks to their queues and returns those that have
	// arrived; a task that is there already counts as arrived. The error
	// tells why the others have not.
	Dispatch(ctx context.Context, tasks []Task) (arrived []Task, err error)
	// Withdraw removes tasks that no worker has begun, as well as it can:
	// what stays is refused at its claim.
	Withdraw(ctx context.Context, tasks []Task)
	// HintCancel tells workers that a job's cancellation was asked for, as
	// well as it can: they learn of it anyway when they extend leases.
	HintCancel(ctx context.Context, id ID)

	// Look says what Redis has of each task.
	Look(ctx context.Context, tasks []Task) ([]Presence, error)
	// Heal gives tasks back to the queue that a worker took and whose lease
	// nobody keeps, and says how many.
	Heal(ctx context.Context, queue string) (int, error)
	// Lost reports whether Redis may have lost what it held of the queue
	// since Restored was last called: it was flushed, restarted, or another
	// server took over. The mark is for Restored. It is the one that is
	// passed, from an earlier call, as long as the loss is the same.
	Lost(ctx context.Context, queue, mark string) (now string, lost bool, err error)
	// Restored notes that all of the queue's tasks were dispatched anew
	// after Lost returned mark, unless it was lost again meanwhile.
	Restored(ctx context.Context, queue, mark string) error

	// FindEphemeral returns a job that lives in Redis alone; CodeNotFound
	// once it is over.
	FindEphemeral(ctx context.Context, id ID) (Job, error)
	// CancelEphemeral cancels one: it is gone, or was told to stop.
	CancelEphemeral(ctx context.Context, id ID) error
}

// Presence is what Redis has of a task.
type Presence int

const (
	// Absent: nothing. Sent again under its name it arrives.
	Absent Presence = iota
	// Known: it is pending, scheduled, to be retried, or active with a living
	// lease.
	Known
	// Stuck: its name is taken, and nothing will come of it.
	Stuck
)

const (
	dispatchers   = 4               // senders side by side
	dispatchQueue = 1024            // hand-overs that wait for a sender
	dispatchWait  = 5 * time.Second // bound of one send
	markEvery     = time.Second     // how often arrivals are noted in SQL
	markMost      = 1000            // in one statement
)

// outbox sends tasks to Redis behind the answer to the caller, and notes
// lazily in SQL that they arrived: a job that is claimed at once has had that
// noted by its claim. What it cannot send stays undispatched, which Reconcile
// mends.
type outbox struct {
	store Store
	disp  Dispatcher
	log   *slog.Logger

	away atomic.Bool // the last send failed

	mu      sync.RWMutex // guards closed against senders into in
	started bool
	closed  bool
	in      chan []Task
	sent    chan []Task
	done    chan struct{}
}

func newOutbox(store Store, disp Dispatcher, log *slog.Logger) *outbox {
	return &outbox{
		store: store, disp: disp, log: log,
		in:   make(chan []Task, dispatchQueue),
		sent: make(chan []Task, dispatchQueue),
		done: make(chan struct{}),
	}
}

// start begins to send, once, and not after stop.
func (o *outbox) start() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.started || o.closed {
		return
	}
	o.started = true
	var senders sync.WaitGroup
	for range dispatchers {
		senders.Go(func() {
			for tasks := range o.in {
				o.send(tasks)
			}
		})
	}
	go func() { senders.Wait(); close(o.sent) }()
	go o.mark()
}

// stop sends what was handed over before, as long as ctx lasts, and ends; one
// that was not started has nobody to send it.
func (o *outbox) stop(ctx context.Context) error {
	o.mu.Lock()
	if !o.closed {
		o.closed = true
		close(o.in)
	}
	started := o.started
	o.mu.Unlock()
	if !started {
		return nil
	}
	select {
	case <-o.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// put hands tasks over and never waits.
func (o *outbox) put(tasks []Task) {
	if len(tasks) == 0 {
		return
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return
	}
	select {
	case o.in <- tasks:
	default:
		o.log.Warn("dispatch is behind; reconcile will send these", "tasks", len(tasks))
	}
}

func (o *outbox) send(tasks []Task) {
	ctx, cancel := context.WithTimeout(context.Background(), dispatchWait)
	defer cancel()
	arrived, err := o.disp.Dispatch(ctx, tasks)
	o.note(len(tasks)-len(arrived), err)
	if len(arrived) > 0 {
		o.sent <- arrived
	}
}

// note logs the beginning and the end of a time in which Redis takes nothing:
// a line for each job would drown the log just when it is read.
func (o *outbox) note(left int, err error) {
	switch {
	case err == nil:
		if o.away.Load() && o.away.CompareAndSwap(true, false) {
			o.log.Info("dispatching works again")
		}
	case o.away.CompareAndSwap(false, true):
		o.log.Warn("dispatching fails; what is accepted meanwhile reconcile will send", "tasks", left, "err", err)
	default:
		o.log.Debug("dispatching failed, too", "tasks", left, "err", err)
	}
}

func (o *outbox) mark() {
	defer close(o.done)
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	var waiting []Task
	for open := true; open; {
		select {
		case tasks, ok := <-o.sent:
			waiting, open = append(waiting, tasks...), ok
			if open && len(waiting) < markMost {
				continue
			}
		case <-tick.C:
		}
		for len(waiting) > 0 {
			n := min(len(waiting), markMost)
			ctx, cancel := context.WithTimeout(context.Background(), dispatchWait)
			err := o.store.MarkDispatched(ctx, waiting[:n])
			cancel()
			if err != nil {
				// Harmless: they are dispatched once more, and the claim
				// makes the twin do nothing.
				o.log.Warn("noting dispatches failed", "tasks", n, "err", err)
			}
			waiting = waiting[n:]
		}
	}
}
