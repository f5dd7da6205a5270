package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// restPause is how long an asynq server rests after Redis failed it.
const restPause = 250 * time.Millisecond

// link watches over the servers' connection to Redis. It logs the beginning
// and the end of an outage, once each.
type link struct {
	log      *slog.Logger
	away     atomic.Bool
	stopping chan struct{} // closed to end all rests
}

func newLink(log *slog.Logger) *link {
	return &link{log: log, stopping: make(chan struct{})}
}

// note takes the outcome of a script. After a failure it returns only after a
// rest: asynq's loop asks again at once, as fast as a refused connection can be
// refused.
func (l *link) note(ctx context.Context, err error) {
	if served(err) {
		if l.away.Load() && l.away.CompareAndSwap(true, false) {
			l.log.Info("Redis serves the queues again")
		}
		return
	}
	if l.away.CompareAndSwap(false, true) {
		l.log.Warn("Redis does not serve the queues; trying on", "err", err)
	}
	rest := time.NewTimer(restPause)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	case <-l.stopping:
	}
}

// served reports whether Redis carried the script out, if only to answer that
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

// paced is the client that asynq's servers get: its scripts pass by the link.
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
