package broker

import (
	"sync"
	"time"
)

// slotDoubt is after how long a slot no longer counts as taken of which asynq
// makes no use: its task was never begun, or was over without an
// acknowledgement because its lease was.
const slotDoubt = 5 * time.Second

// gatherLimit is how long a fetch waits for slots that are about to be free.
const gatherLimit = time.Millisecond

// slots counts how many of a queue's handlers are busy. asynq keeps its own
// count to itself: a slot is taken when a task is handed to it, and free again
// when the task's acknowledgement has been answered.
type slots struct {
	size  int
	freed chan struct{} // holds a token when a slot became free

	mu     sync.Mutex
	taken  map[string]*slot // by task id
	ending int              // of them, those whose handler has returned
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
	return &slots{size: size, freed: make(chan struct{}, 1), taken: map[string]*slot{}}
}

// gather waits a moment for the acknowledgements that are under way: their
// slots can be filled by the same fetch. It does not once half of the slots
// are free.
func (s *slots) gather() {
	var limit <-chan time.Time
	for {
		s.mu.Lock()
		enough := s.ending == 0 || 2*len(s.taken) <= s.size
		s.mu.Unlock()
		if enough {
			return
		}
		if limit == nil {
			limit = time.After(gatherLimit)
		}
		select {
		case <-s.freed:
		case <-limit:
			return
		}
	}
}

// free is how many tasks asynq has room for: one at least, for it asks only
// when it has.
func (s *slots) free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.taken) >= s.size {
		for id, t := range s.taken {
			if t.state != slotRunning && time.Since(t.since) > slotDoubt {
				s.forget(id)
			}
		}
	}
	return max(s.size-len(s.taken), 1)
}

// hand notes that asynq was given the task.
func (s *slots) hand(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(id) // it may have been here before
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
	s.ending++
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
	s.forget(id)
	put(s.freed)
}

func (s *slots) forget(id string) {
	if t, ok := s.taken[id]; ok && t.state == slotEnding {
		s.ending--
	}
	delete(s.taken, id)
}
