package main

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/postrider/postrider/bench/peers"
	"github.com/postrider/postrider/bench/stage"
)

// A server of a live case has one core, and the crowd of its clients the other.
const (
	serverCore = 0
	crowdCore  = 1
	pinning    = "taskset"
)

// liveStage is a server and the crowd of its clients; with a second server, if
// the clients are spoken to from there.
type liveStage struct {
	who           contestant
	spec          peers.Spec
	server, other *stage.Actor
	crowd         *stage.Actor
	addr, speaker string
}

func (b *bench) openLive(ctx context.Context, c contestant) (_ *liveStage, err error) {
	if runtime.NumCPU() < 2 {
		return nil, errors.New("the server and the crowd need a core each, and there is one")
	}
	spec, err := b.setUp(ctx, c)
	if err != nil {
		return nil, err
	}
	if !c.redis {
		spec.Redis = ""
	}
	l := &liveStage{who: c, spec: spec}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.server, l.addr, err = b.pinned(ctx, c, spec, serverCore); err != nil {
		return nil, err
	}
	if c.redis && c.node != "" {
		if l.other, l.speaker, err = b.pinned(ctx, c, spec, crowdCore); err != nil {
			return nil, err
		}
	}
	l.crowd, err = stage.StartActor(ctx, "the crowd", pin(crowdCore, exec.Command(b.program, "contestant", "crowd", "{}")), nil)
	return l, err
}

// pinned starts a server that has one core.
func (b *bench) pinned(ctx context.Context, c contestant, spec peers.Spec, core int) (*stage.Actor, string, error) {
	cmd, err := b.command(c, spec)
	if err != nil {
		return nil, "", err
	}
	var ready struct{ Addr string }
	a, err := stage.StartActor(ctx, c.name, pin(core, cmd), &ready)
	return a, ready.Addr, err
}

// pin has a program run on one core, and know of no other.
func pin(core int, cmd *exec.Cmd) *exec.Cmd {
	pinned := exec.Command(pinning, append([]string{"--cpu-list", strconv.Itoa(core)}, cmd.Args...)...)
	pinned.Env = cmd.Env
	return pinned
}

func (l *liveStage) connect(ctx context.Context, clients int, stalled bool) error {
	args := map[string]any{"addr": l.addr, "speaker": l.speaker, "clients": clients, "stalled": stalled}
	if l.who.node == "" {
		args["redis"] = l.spec.Redis
	}
	return l.crowd.Do(ctx, "connect", args, nil)
}

// memory is the server's after a collection of its garbage.
func (l *liveStage) memory(ctx context.Context) (int64, error) {
	if err := l.server.Do(ctx, "collect", nil, nil); err != nil {
		return 0, err
	}
	return l.server.RSS()
}

// saturate returns deliveries a second, and the server's processor time of each
// in microseconds.
func (l *liveStage) saturate(ctx context.Context, s liveSizes) (perSecond, cost float64, err error) {
	var told struct{ Events, MS float64 }
	for _, d := range []time.Duration{s.each / 2, s.each} { // the first warms up
		cost, err = l.costly(func() (float64, error) {
			err := l.crowd.Do(ctx, "saturate", map[string]any{"window": s.window, "ms": milliseconds(d)}, &told)
			return told.Events, err
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return told.Events / told.MS * 1000, cost, nil
}

// pace returns how long notifications at a fixed rate are on their way, in
// milliseconds, while the stalled client is sent so many bytes, and the server's
// processor time of a delivery in microseconds.
func (l *liveStage) pace(ctx context.Context, s liveSizes, flood int) (cost, p50, p99 float64, err error) {
	var told struct{ Count, P50, P99 float64 }
	cost, err = l.costly(func() (float64, error) {
		err := l.crowd.Do(ctx, "pace", map[string]any{
			"rate": s.rate, "ms": milliseconds(s.each), "flood": map[string]int{"bytes": flood, "piece": 64_000},
		}, &told)
		return told.Count, err
	})
	return cost, told.P50, told.P99, err
}

// costly returns the server's processor time of each delivery, in microseconds.
func (l *liveStage) costly(deliver func() (deliveries float64, err error)) (float64, error) {
	before, err := l.server.CPU()
	if err != nil {
		return 0, err
	}
	deliveries, err := deliver()
	if err != nil {
		return 0, err
	}
	after, err := l.server.CPU()
	return float64((after - before).Microseconds()) / deliveries, err
}

func (l *liveStage) close() error {
	var errs []error
	for _, a := range []*stage.Actor{l.crowd, l.other, l.server} {
		if a != nil {
			errs = append(errs, a.Close())
		}
	}
	return errors.Join(errs...)
}
