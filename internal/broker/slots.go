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
// when the task's acknowledgement has been answered.
type slots struct {
	size int

	mu    sync.Mutex
	taken map[string]*slot // by task id
}

type slot struct {
	state slotState
	since time.Time // of the state
	due   dueTime   // when the handler wants it again; 0 for asynq's own time
}

type slotState int

const (
	slotHanded slotState = iota
	slotRunning
	slotEnding
)

func newSlots(size int) *slots {
	return &slots{size: size, taken: map[string]*slot{}}
}

// free is how many tasks asynq has room for once the acknowledgements are
// answered.
func (s *slots) free(acks []*call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.size - len(s.taken)
	for _, c := range acks {
		if _, ok := s.taken[c.task()]; ok {
			n++
		}
	}
	return n
}

// review frees slots that are in doubt. To be called when all seem taken and
// asynq asks for a task, so that it has room.
func (s *slots) review() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.taken) < s.size {
		return
	}
	for id, t := range s.taken {
		if t.state != slotRunning && time.Since(t.since) > slotDoubt {
			delete(s.taken, id)
		}
	}
}

// hand notes that asynq was given the task.
func (s *slots) hand(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[id] = &slot{since: time.Now()}
}

// begin notes that the task's handler was called.
func (s *slots) begin(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.taken[id]; ok {
		t.state = slotRunning
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
	t.state, t.since = slotEnding, time.Now()
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
	delete(s.taken, id)
}
