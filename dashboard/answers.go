package dashboard

import (
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// answerEvery is how long an answer of asynqmon is good for: each of its
	// pages asks again every few seconds, and some answers are costly.
	answerEvery = 2 * time.Second
	// mostAnswers bounds how many are kept.
	mostAnswers = 200
)

// answers keeps what asynqmon answered lately. Requests for the same thing at
// the same moment share one call.
type answers struct {
	calls singleflight.Group

	mu   sync.Mutex
	age  int // rises with forget, so that a call begun before is not shared after
	kept map[string]answer
}

type answer struct {
	at  time.Time
	got *recorded // not changed any more
}

func newAnswers() *answers { return &answers{kept: map[string]answer{}} }

// get returns a fresh answer under the key: a kept one, or that of ask.
func (a *answers) get(key string, ask func() *recorded) *recorded {
	a.mu.Lock()
	age, found := a.age, a.kept[key]
	a.mu.Unlock()
	if found.got != nil && time.Since(found.at) < answerEvery {
		return found.got
	}
	got, _, _ := a.calls.Do(strconv.Itoa(age)+" "+key, func() (any, error) {
		at := time.Now()
		got := ask()
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.kept) >= mostAnswers {
			clear(a.kept)
		}
		if age == a.age {
			a.kept[key] = answer{at, got}
		}
		return got, nil
	})
	return got.(*recorded)
}

// forget drops all answers: something was done that they do not show.
func (a *answers) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.age++
	clear(a.kept)
}
