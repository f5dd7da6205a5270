// Package roster knows which processes there are: each says so to Redis every few
// seconds, and what it is. What runs where is not its business: that the leases
// in SQL tell.
package roster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/rounds"
)

const (
	// BeatEvery is how often a process says that it lives.
	BeatEvery = 5 * time.Second
	// SilentAfter is after how long without a word a process counts as silent.
	SilentAfter = 3 * BeatEvery
	// keep is for how long one is remembered that says nothing any more.
	keep = time.Minute
	// patience bounds one word with Redis.
	patience = 2 * time.Second
	// mostListed bounds what List returns.
	mostListed = 1000
)

// Keys: a set of the names, and a string that expires for each. Its remaining
// time tells when the process last spoke, by Redis' own clock.
const (
	namesKey = "postrider:roster"
	aboutKey = "postrider:roster:"
)

// Process is one process of the fleet.
type Process struct {
	Name    string    `json:"-"`    // as the leases of its runs have it
	Role    string    `json:"role"` // api, worker, scheduler or postrider
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`          // by its own clock
	Queues  string    `json:"queues,omitempty"` // that it serves, each with its concurrency

	Unheard time.Duration `json:"-"` // since it last spoke
}

// Silent reports whether it should have spoken since.
func (p Process) Silent() bool { return p.Unheard > SilentAfter }

// Member tells of this process from Start to Stop.
type Member struct {
	rdb    redis.UniversalClient
	name   string
	about  []byte
	rounds rounds.Rounds
}

// NewMember makes one that tells of self.
func NewMember(rdb redis.UniversalClient, self Process, log *slog.Logger) (*Member, error) {
	about, err := json.Marshal(self)
	if err != nil {
		return nil, fmt.Errorf("writing what this process is: %w", err)
	}
	m := &Member{rdb: rdb, name: self.Name, about: about}
	m.rounds = rounds.Rounds{
		Every: BeatEvery, Round: m.beat, Log: log.With("component", "roster"),
		Failing: "this process cannot tell that it lives; trying on", Well: "this process is told of again",
	}
	return m, nil
}

// Start begins to tell. It can be called once.
func (m *Member) Start() { m.rounds.Start() }

// Stop ends what Start began and takes the process off the list. That Redis does
// not hear of it is no error: the process is forgotten by itself.
func (m *Member) Stop(ctx context.Context) error {
	m.rounds.Stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, _ = m.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.SRem(ctx, namesKey, m.name)
		p.Del(ctx, aboutKey+m.name)
		return nil
	})
	return nil
}

func (m *Member) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := m.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, aboutKey+m.name, m.about, keep)
		p.SAdd(ctx, namesKey, m.name)
		return nil
	})
	if err != nil {
		return fmt.Errorf("telling that this process lives: %w", err)
	}
	return nil
}

// List returns the processes that spoke within the last minute, by role and
// name, 1,000 at most.
func List(ctx context.Context, rdb redis.UniversalClient) ([]Process, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	names, err := rdb.SMembers(ctx, namesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("listing the processes: %w", err)
	}
	slices.Sort(names)
	names = names[:min(len(names), mostListed)]
	about, left := make([]*redis.StringCmd, len(names)), make([]*redis.DurationCmd, len(names))
	_, err = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			about[i], left[i] = p.Get(ctx, aboutKey+name), p.PTTL(ctx, aboutKey+name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("reading about the processes: %w", err)
	}
	var out []Process
	var gone []any
	for i, name := range names {
		p := Process{Name: name}
		text, err := about[i].Bytes()
		switch {
		case errors.Is(err, redis.Nil):
			gone = append(gone, name)
			continue
		case err != nil:
			return nil, fmt.Errorf("reading about a process: %w", err)
		}
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, fmt.Errorf("reading about the process %s: %w", name, err)
		}
		p.Unheard = max(keep-left[i].Val(), 0)
		out = append(out, p)
	}
	if len(gone) > 0 {
		// One that comes back says its name again with its next beat.
		_ = rdb.SRem(ctx, namesKey, gone...).Err()
	}
	slices.SortStableFunc(out, func(a, b Process) int { return cmp.Compare(a.Role, b.Role) })
	return out, nil
}
