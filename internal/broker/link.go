package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// restPause is how long an asynq server rests after Redis failed it.
const restPause = 250 * time.Millisecond

// outage is the time in which Redis does not serve one queue at least: on a
// Cluster it may serve others meanwhile. Its beginning and its end are logged,
// once each.
type outage struct {
	log *slog.Logger

	mu      sync.Mutex
	queues  int           // that are not served
	stopped chan struct{} // closed to end all rests
}

func newOutage(log *slog.Logger) *outage {
	return &outage{log: log, stopped: make(chan struct{})}
}

func (o *outage) begin(queue string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.queues++; o.queues == 1 {
		o.log.Warn("Redis does not serve the queues; trying on", "queue", queue, "err", err)
	}
}

func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.queues--; o.queues == 0 {
		o.log.Info("Redis serves the queues again")
	}
}

// link watches over one queue's connection to Redis.
type link struct {
	outage *outage
	queue  string
	away   atomic.Bool
}

// note takes the outcome of a command. After a failure it returns only after a
// rest: asynq's loop asks again at once, as fast as a refused connection can be
// refused.
func (l *link) note(ctx context.Context, err error) {
	if l.mark(err) {
		return
	}
	rest := time.NewTimer(restPause)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	case <-l.outage.stopped:
	}
}

// mark takes the outcome of a command and reports whether Redis served it.
func (l *link) mark(err error) bool {
	if served(err) {
		if l.away.Load() && l.away.CompareAndSwap(true, false) {
			l.outage.end()
		}
		return true
	}
	if l.away.CompareAndSwap(false, true) {
		l.outage.begin(l.queue, err)
	}
	return false
}

// served reports whether Redis carried the command out, if only to answer that
// there was nothing to do: no task, a script to be loaded first, or one of
// asynq's own refusals. Everything else (no connection, LOADING, READONLY,
// NOAUTH, OOM) is an outage.
func served(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return true
	}
	var refused redis.Error
	return errors.As(err, &refused) && (strings.Contains(err.Error(), "NOSCRIPT") || strings.Contains(err.Error(), "NOT FOUND"))
}

// paced is the client that a queue's asynq server gets: what it does at regular
// intervals passes by the link.
type paced struct {
	redis.UniversalClient
	link *link
}

func (p paced) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := p.UniversalClient.EvalSha(ctx, sha, keys, args...)
	p.link.note(ctx, cmd.Err())
	return cmd
}

func (p paced) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	cmd := p.UniversalClient.Eval(ctx, script, keys, args...)
	p.link.note(ctx, cmd.Err())
	return cmd
}

// ZAdd is how a heartbeat begins.
func (p paced) ZAdd(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	cmd := p.UniversalClient.ZAdd(ctx, key, members...)
	p.link.note(ctx, cmd.Err())
	return cmd
}

// asynqLog is asynq's Logger. What asynq says of its own course is for
// debugging, and so is all that it says while Redis is away, when each of its
// loops complains each time round.
type asynqLog struct {
	log  *slog.Logger
	link *link
}

func (l asynqLog) at(level slog.Level, args []any) {
	if l.link.away.Load() {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "asynq: "+fmt.Sprint(args...))
}

// Debug is never called: asynq's default level is above it.
func (l asynqLog) Debug(args ...any) { l.at(slog.LevelDebug, args) }

// Info takes starts and stops.
func (l asynqLog) Info(args ...any) { l.at(slog.LevelDebug, args) }

// Warn takes what asynq handles itself: archived tasks, acks tried again.
func (l asynqLog) Warn(args ...any) { l.at(slog.LevelInfo, args) }

// Error takes failed commands.
func (l asynqLog) Error(args ...any) { l.at(slog.LevelWarn, args) }

// Fatal would end the process in asynq's own logger; asynq does not call it.
func (l asynqLog) Fatal(args ...any) { l.at(slog.LevelError, args) }
