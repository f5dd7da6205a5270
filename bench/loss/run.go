package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/bench/stage"
)

// plan is what a run is.
type plan struct {
	clients int
	rate    float64 // notifications a second
	lasting time.Duration
}

// outcome is what came of a run.
type outcome struct {
	Accepted, Repeated  int // notifications, and posts that had to be sent again
	Due                 int // that clients were to see, each counted for each
	Lost, Twice, Astray int // of these not seen; seen more than once; seen by others
	After               time.Duration
}

// fault is something that happens at a share of the run's time.
type fault struct {
	at float64
	do func(ctx context.Context, s *side) error
}

// faults are what every run has, in this order.
var faults = []fault{
	{0.12, func(_ context.Context, s *side) error { s.balancer.drop(0.5); return nil }},
	{0.24, func(ctx context.Context, s *side) error { return cutRedis(ctx, s, "pubsub") }},
	{0.36, func(_ context.Context, s *side) error { s.kill(0); return nil }},
	{0.46, func(ctx context.Context, s *side) error { return s.start(ctx, 0) }},
	{0.58, func(ctx context.Context, s *side) error {
		return errors.Join(cutRedis(ctx, s, "normal"), cutRedis(ctx, s, "pubsub"))
	}},
	{0.68, func(_ context.Context, s *side) error { s.balancer.drop(0.5); return nil }},
	{0.78, func(_ context.Context, s *side) error { s.kill(1); return nil }},
	{0.88, func(ctx context.Context, s *side) error { return s.start(ctx, 1) }},
}

// cutRedis cuts all connections of a kind to Redis.
func cutRedis(ctx context.Context, s *side, kind string) (err error) {
	rdb := redis.NewClient(&redis.Options{Addr: s.redis.Addr})
	defer func() { err = errors.Join(err, rdb.Close()) }()
	if err := rdb.Do(ctx, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes").Err(); err != nil {
		return fmt.Errorf("cutting the connections to Redis: %w", err)
	}
	return nil
}

// run has a side go through the faults under load.
func run(ctx context.Context, s *side, p plan) (o outcome, err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		return o, err
	}
	clients, err := s.clients(ctx, p.clients)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, clients.Close()) }()
	post := &sender{side: s, clients: p.clients}
	defer post.http.CloseIdleConnections()
	var sending sync.WaitGroup
	began := time.Now()
	sending.Go(func() { post.run(ctx, p.rate, p.lasting) })
	for _, f := range faults {
		due := began.Add(time.Duration(f.at * float64(p.lasting)))
		if err = sleep(ctx, time.Until(due)); err == nil {
			err = f.do(ctx, s)
		}
		if err != nil {
			break
		}
	}
	sending.Wait()
	if err = errors.Join(err, post.failed); err != nil {
		return o, err
	}
	return await(ctx, clients, p, post)
}

// calm is how long nothing more may come until what is missing counts as lost;
// the inbox asks by itself once a minute.
const (
	calmPlain = 5 * time.Second
	calmInbox = 90 * time.Second
)

// await asks the clients until they have everything, or get nothing more.
func await(ctx context.Context, clients *stage.Actor, p plan, s *sender) (outcome, error) {
	calm := calmInbox
	if s.side.plain {
		calm = calmPlain
	}
	ended := time.Now()
	last, changed := outcome{}, ended
	for {
		var told struct {
			Shown map[string]map[string]int `json:"shown"`
		}
		if err := clients.Do(ctx, "shown", nil, &told); err != nil {
			return last, err
		}
		now := judge(p, s, told.Shown)
		if now != last {
			last, changed = now, time.Now()
		}
		if now.Lost == 0 || time.Since(changed) > calm {
			last.After = changed.Sub(ended)
			return last, nil
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return last, err
		}
	}
}

// judge compares what was accepted with what was shown.
func judge(p plan, s *sender, shown map[string]map[string]int) outcome {
	o := outcome{Accepted: len(s.accepted), Repeated: s.repeated}
	for client := range p.clients {
		times := maps.Clone(shown[strconv.Itoa(client)])
		for _, n := range s.accepted {
			if !n.to(client) {
				continue
			}
			o.Due++
			switch seen := times[n.message]; {
			case seen == 0:
				o.Lost++
			case seen > 1:
				o.Twice++
			}
			delete(times, n.message)
		}
		o.Astray += len(times)
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
