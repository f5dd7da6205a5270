package broker

import (
	"sync"
	"time"
)

// slotDoubt is after how long a slot no longer counts as taken of which asynq
// makes no use: its task was never begun, or was over without an
// acknowledgement because its lease was.
const slotDoubt = 5 * time.Second

// slots counts how many of a queue's handlers are busy. asynq keeps its own
// count to itself: a slot is taken when a task is handed to it, and free again
// when the task's work is over. What comes after the work, its outcome's way to
// SQL and Redis, must not keep another task from beginning, so that asynq may
// have more tasks than there are slots.
type slots struct {
	size  int           // tasks at work
	most  int           // tasks in asynq's hands, asynq's own concurrency
	freed chan struct{} // holds one when a slot was freed

	mu      sync.Mutex
	taken   map[string]*slot // by task id, until the acknowledgement was answered
	busy    int              // of them, those at work
	handed  int              // of those, the ones whose handler was not called yet
	waiting int              // tasks that were fetched and not handed to asynq yet
	begun   chan struct{}    // closed when there are none of both; nil while nobody waits for it
}

type slot struct {
	state slotState
	since time.Time // of the state
	due   dueTime   // when the handler wants it again; 0 for asynq's own time
}

type slotState int

const (
	slotHanded  slotState = iota
	slotRunning           // the handler works
	slotOver              // its work is over, the outcome not yet recorded
	slotEnding            // the handler has returned
)

func (s slotState) busy() bool { return s == slotHanded || s == slotRunning }

// newSlots is for a queue's concurrency. As many tasks again may be on their
// way out.
func newSlots(size int) *slots {
	return &slots{size: size, most: 2 * size, freed: make(chan struct{}, 1), taken: map[string]*slot{}}
}

// free is how many tasks may begin once the acknowledgements are answered.
func (s *slots) free(acks []*call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.most - len(s.taken)
	for _, c := range acks {
		if _, ok := s.taken[c.task()]; ok {
			room++
		}
	}
	return min(s.size-s.busy, room)
}

// await waits for a free slot, and reports whether there is one before that
// time and before the channel is closed.
func (s *slots) await(until time.Time, closed <-chan struct{}) bool {
	for !s.room() {
		wait := min(time.Until(until), slotDoubt)
		if wait <= 0 {
			return false
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.freed:
		case <-timer.C:
		case <-closed:
			timer.Stop()
			return false
		}
		timer.Stop()
	}
	return true
}

// room reports whether a slot is free. Called when asynq asks for a task, so
// that it has room: slots that are in doubt are freed.
func (s *slots) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy < s.size && len(s.taken) < s.most {
		return true
	}
	for id, t := range s.taken {
		if (t.state == slotHanded || t.state == slotEnding) && time.Since(t.since) > slotDoubt {
			s.drop(id)
		}
	}
	return s.busy < s.size
}

// turn brings a slot into a later state; s.mu is held.
func (s *slots) turn(t *slot, state slotState) {
	if t.state == slotHanded && state != slotHanded {
		s.handed--
		s.tellBegun()
	}
	if t.state.busy() && !state.busy() {
		s.busy--
		put(s.freed)
	}
	t.state, t.since = state, time.Now()
}

// drop forgets a task; s.mu is held.
func (s *slots) drop(id string) {
	if t, ok := s.taken[id]; ok {
		s.turn(t, slotEnding)
		delete(s.taken, id)
	}
}

// hand notes that asynq was given the task.
func (s *slots) hand(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id) // it may have been here before
	s.taken[id] = &slot{since: time.Now()}
	s.busy++
	s.handed++
}

// buffered notes how many tasks were fetched and not handed to asynq yet.
func (s *slots) buffered(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = n
	s.tellBegun()
}

// beginning is nil when the handlers of all tasks that were fetched have been
// called, and else a channel that is closed when that is so.
func (s *slots) beginning() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handed+s.waiting == 0 {
		return nil
	}
	if s.begun == nil {
		s.begun = make(chan struct{})
	}
	return s.begun
}

// tellBegun tells who waits for it; s.mu is held.
func (s *slots) tellBegun() {
	if s.begun != nil && s.handed+s.waiting == 0 {
		close(s.begun)
		s.begun = nil
	}
}

// begin notes that the task's handler was called.
func (s *slots) begin(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.taken[id]; ok {
		s.turn(t, slotRunning)
	}
}

// over notes that the task's work is over, and its handler is about to record
// the outcome.
func (s *slots) over(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.taken[id]; ok && t.state == slotRunning {
		s.turn(t, slotOver)
	}
}

// end notes that the handler returned, and when it wants the task again.
func (s *slots) end(id string, again time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.taken[id]
	if !ok || t.state == slotEnding {
		return
	}
	s.turn(t, slotEnding)
	if !again.IsZero() {
		t.due = dueAt(again)
	}
}

// due returns when the task's handler wanted it again; false when asynq is to
// decide.
func (s *slots) due(id string) (dueTime, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.taken[id]
	if !ok || t.due == 0 {
		return 0, false
	}
	return t.due, true
}

// leave notes that the task's acknowledgement was answered.
func (s *slots) leave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id)
}
