package apikey

import (
	"context"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/postrider/postrider/internal/job"
)

const (
	// Fresh is how long a process takes a key without asking the database again,
	// and so within which a revoked one is refused everywhere.
	Fresh = time.Second
	// mostFound bounds the secrets that are remembered.
	mostFound = 10_000
	// lookLimit bounds one question.
	lookLimit = 5 * time.Second
)

// ring remembers for a moment whose the secrets are that came lately, and which
// are nobody's. The requests that bring one at the same time share a question.
type ring struct {
	asking singleflight.Group

	mu   sync.Mutex
	age  int // rises with forget: an answer to a question from before is not kept
	kept map[Hash]found
}

type found struct {
	key Key
	err error // nil, or that there is none
	at  time.Time
}

func newRing() *ring { return &ring{kept: map[Hash]found{}} }

// get returns what is known of a secret, or what look says. Errors but that
// there is no such key are not remembered.
func (r *ring) get(ctx context.Context, hash Hash, look func(context.Context, Hash) (Key, error)) (Key, error) {
	f, age, known := r.recall(hash)
	if known {
		return f.key, f.err
	}
	asked := r.asking.DoChan(strconv.Itoa(age)+" "+string(hash[:]), func() (any, error) {
		if f, _, known := r.recall(hash); known { // another was quicker
			return f.key, f.err
		}
		// Not the request's own time: others wait for the answer too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookLimit)
		defer cancel()
		at := time.Now() // what was true then may change while the answer is on its way
		k, err := look(ctx, hash)
		if err == nil || job.CodeOf(err) == job.CodeNotFound {
			r.keep(hash, found{k, err, at}, age)
		}
		return k, err
	})
	select {
	case got := <-asked:
		return got.Val.(Key), got.Err
	case <-ctx.Done():
		return Key{}, job.Wrap(job.CodeTemporary, context.Cause(ctx), "the API key could not be looked up in time")
	}
}

// recall returns what is known of a secret, and the age that it is known at.
func (r *ring) recall(hash Hash) (f found, age int, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f = r.kept[hash]
	return f, r.age, !f.at.IsZero() && time.Since(f.at) < Fresh
}

func (r *ring) keep(hash Hash, f found, age int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age != r.age {
		return
	}
	if len(r.kept) >= mostFound {
		clear(r.kept)
	}
	r.kept[hash] = f
}

// forget drops all answers.
func (r *ring) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.age++
	clear(r.kept)
}
