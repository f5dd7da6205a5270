package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The live cases: thousands of WebSocket clients of one server.

var (
	socketIOAlone = contestant{name: oursSocketIO, kind: "postrider-socketio"}
	wholeHub      = contestant{name: oursHub, kind: "postrider-hub", redis: true}
	nodeSocketIO  = contestant{name: socketIO, node: "socketio.mjs"}
	nodeTwo       = contestant{name: socketIO, node: "socketio.mjs", redis: true}
)

// liveSizes are how much the live cases do.
type liveSizes struct {
	clients, callers int
	window           int     // notifications under way at once
	rate             float64 // notifications a second, of those that are timed
	settle, each     time.Duration
	flood            int // bytes for the stalled client
}

// milliseconds is how commands tell times.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// beside are the goals of both of ours against Node's.
func beside(factor float64) []goal {
	return []goal{{oursSocketIO, socketIO, factor}, {oursHub, socketIO, factor}}
}

// liveRoom is a room of idle clients, then of clients that are told something.
func liveRoom(s liveSizes) benchCase {
	return benchCase{
		name: "live-room", program: pinning,
		about: fmt.Sprintf("%d WebSocket clients in one room: idle, with %d notifications always under way, and with %v a second", s.clients, s.window, s.rate),
		rows: []row{
			{Name: "live, memory of an idle connection", Unit: "KiB", Less: true, Goals: beside(0.7)},
			{Name: "live, the same before a collection", Unit: "KiB", Less: true},
			{Name: "live, deliveries", Unit: "events/s", Goals: beside(1.3)},
			{Name: "live, processor time of a delivery", Unit: "µs", Less: true},
			{Name: "live, the same at the fixed rate", Unit: "µs", Less: true},
			{Name: "live, broadcast p50", Unit: "ms", Less: true},
			{Name: "live, broadcast p99", Unit: "ms", Less: true, Goals: beside(0.5)},
		},
		contestants: []contestant{socketIOAlone, wholeHub, nodeSocketIO},
		run: func(ctx context.Context, b *bench, c contestant) (figures []float64, err error) {
			l, err := b.openLive(ctx, c)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, l.close()) }()
			before, err := l.memory(ctx)
			if err != nil {
				return nil, err
			}
			if err := l.connect(ctx, s.clients, false); err != nil {
				return nil, err
			}
			if err := l.crowd.Do(ctx, "listen", map[string]any{"ms": milliseconds(s.settle)}, nil); err != nil {
				return nil, err
			}
			settled, err := l.server.RSS()
			if err != nil {
				return nil, err
			}
			after, err := l.memory(ctx)
			if err != nil {
				return nil, err
			}
			each := func(bytes int64) float64 { return float64(bytes-before) / float64(s.clients) / 1024 }
			perSecond, cost, err := l.saturate(ctx, s)
			if err != nil {
				return nil, err
			}
			calm, p50, p99, err := l.pace(ctx, s, 0)
			return []float64{each(after), each(settled), perSecond, cost, calm, p50, p99}, err
		},
	}
}

// liveEcho is events that are acknowledged.
func liveEcho(s liveSizes) benchCase {
	gap := 100 * time.Millisecond
	return benchCase{
		name: "live-echo", program: pinning,
		about: fmt.Sprintf("%d clients that each wait for the acknowledgement of their last event, and then send one each %v", s.callers, gap),
		rows: []row{
			{Name: "echo", Unit: "events/s", Goals: []goal{{oursSocketIO, socketIO, 1.3}}},
			{Name: "echo, p50", Unit: "ms", Less: true},
			{Name: "echo, p99", Unit: "ms", Less: true, Goals: []goal{{oursSocketIO, socketIO, 0.5}}},
		},
		contestants: []contestant{socketIOAlone, nodeSocketIO},
		run: func(ctx context.Context, b *bench, c contestant) (figures []float64, err error) {
			l, err := b.openLive(ctx, c)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, l.close()) }()
			if err := l.connect(ctx, s.callers, false); err != nil {
				return nil, err
			}
			var busy, calm struct {
				Count    float64
				P50, P99 float64
			}
			for _, d := range []time.Duration{s.each / 2, s.each} { // the first warms up
				if err := l.crowd.Do(ctx, "echo", map[string]any{"callers": s.callers, "ms": milliseconds(d)}, &busy); err != nil {
					return nil, err
				}
			}
			err = l.crowd.Do(ctx, "echo", map[string]any{"callers": s.callers, "ms": milliseconds(s.each), "gap": milliseconds(gap)}, &calm)
			return []float64{busy.Count / s.each.Seconds(), calm.P50, calm.P99}, err
		},
	}
}

// liveStalled is a client that takes nothing of what it is sent.
func liveStalled(s liveSizes) benchCase {
	return benchCase{
		name: "live-stalled", program: pinning,
		about: fmt.Sprintf("a client that reads nothing is sent %d MB, in %v, beside %d others with %v notifications a second", s.flood/1_000_000, s.each, s.callers, s.rate),
		rows: []row{
			{Name: "a stalled client, memory", Unit: "MiB", Less: true, Goals: []goal{{Who: oursSocketIO, Factor: 8}, {Who: oursHub, Factor: 8}}},
			{Name: "a stalled client, memory at most", Unit: "MiB", Less: true},
			{Name: "beside a stalled client, broadcast p50", Unit: "ms", Less: true},
			{Name: "beside a stalled client, broadcast p99", Unit: "ms", Less: true, Goals: beside(0.5)},
		},
		contestants: []contestant{socketIOAlone, wholeHub, nodeSocketIO},
		run: func(ctx context.Context, b *bench, c contestant) (figures []float64, err error) {
			l, err := b.openLive(ctx, c)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, l.close()) }()
			if err := l.connect(ctx, s.callers, true); err != nil {
				return nil, err
			}
			if _, _, _, err := l.pace(ctx, s, 0); err != nil { // which warms up
				return nil, err
			}
			before, err := l.memory(ctx)
			if err != nil {
				return nil, err
			}
			if err := l.server.ForgetPeak(); err != nil {
				return nil, err
			}
			_, p50, p99, err := l.pace(ctx, s, s.flood)
			if err != nil {
				return nil, err
			}
			most, err := l.server.PeakRSS()
			if err != nil {
				return nil, err
			}
			after, err := l.memory(ctx)
			grown := func(bytes int64) float64 { return float64(bytes-before) / (1 << 20) }
			return []float64{grown(after), grown(most), p50, p99}, err
		},
	}
}

// liveTwo is what another process sends to the clients of this one.
func liveTwo(s liveSizes) benchCase {
	return benchCase{
		name: "live-two", program: pinning,
		about: fmt.Sprintf("the same room over Redis: one process sends, another has the %d clients", s.clients),
		rows: []row{
			{Name: "live over Redis, deliveries", Unit: "events/s", Goals: []goal{{oursHub, socketIO, 1.3}}},
			{Name: "live over Redis, processor time of a delivery", Unit: "µs", Less: true},
			{Name: "live over Redis, the same at the fixed rate", Unit: "µs", Less: true},
			{Name: "live over Redis, broadcast p50", Unit: "ms", Less: true},
			{Name: "live over Redis, broadcast p99", Unit: "ms", Less: true, Goals: []goal{{oursHub, socketIO, 0.5}}},
		},
		contestants: []contestant{wholeHub, nodeTwo},
		run: func(ctx context.Context, b *bench, c contestant) (figures []float64, err error) {
			l, err := b.openLive(ctx, c)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, l.close()) }()
			if err := l.connect(ctx, s.clients, false); err != nil {
				return nil, err
			}
			perSecond, cost, err := l.saturate(ctx, s)
			if err != nil {
				return nil, err
			}
			calm, p50, p99, err := l.pace(ctx, s, 0)
			return []float64{perSecond, cost, calm, p50, p99}, err
		},
	}
}
