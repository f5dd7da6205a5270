package audit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/job"
)

const (
	loginsEvery = time.Minute
	// maxAddresses bounds how many addresses are told apart between two records.
	maxAddresses = 1000
)

// failures counts logins that failed, for one record a minute: whoever tries
// passwords must not be able to fill the database.
type failures struct {
	mu    sync.Mutex
	from  map[string]int // by address
	total int
}

func newFailures() *failures { return &failures{from: map[string]int{}} }

// FailedLogin counts a login that failed. What name was tried is not kept: people
// type passwords there.
func (l *Log) FailedLogin(address string) { l.logins.add(address, 1) }

func (f *failures) add(address string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total += n
	if _, known := f.from[address]; known || len(f.from) < maxAddresses {
		f.from[address] += n
	}
}

// take empties the count.
func (f *failures) take() (from map[string]int, total int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, total = f.from, f.total
	f.from, f.total = map[string]int{}, 0
	return from, total
}

// give puts back what could not be written.
func (f *failures) give(from map[string]int, total int) {
	for address, n := range from {
		f.add(address, n)
		total -= n
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total += total
}

// writeFailures records what was counted, if anything: how many, from how many
// addresses, and from which of them most.
func (l *Log) writeFailures(ctx context.Context) error {
	from, total := l.logins.take()
	if total == 0 {
		return nil
	}
	r := Record{ID: uuid.NewString(), Outcome: string(job.CodeUnauthorized), Act: Act{Actor: "dashboard:", Action: LoginFailed, Count: total}}
	most := 0
	for address, n := range from {
		if n > most || n == most && address < r.Address {
			most, r.Address = n, address
		}
	}
	if len(from) > 1 {
		r.Detail = fmt.Sprintf("%d addresses; %d from this one", len(from), most)
	}
	err := l.alone(ctx, r)
	if err != nil {
		l.logins.give(from, total)
	}
	return err
}
