package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	dialTimeout = 3 * time.Second
	// ioTimeout bounds one answer. asynq's longest scripts take milliseconds; the
	// rest is patience with a server that forks for a snapshot.
	ioTimeout = 5 * time.Second
)

// go-redis has one logger a process, which writes to standard error. What it
// would tell (connections lost and regained) we learn from errors and log once
// an outage. It is silenced before anything can use it.
func init() { logging.Disable() }

// Connect returns a client for the Redis that the configuration names, to be
// shared by all that need Redis and closed after them. It does not wait for
// Redis: connections are made when they are needed, see Check.
//
// The client heeds contexts and sends nothing twice by itself: a script of
// asynq whose answer was lost may have done its work, and what then is right
// only its caller knows. Its connections are taken for milliseconds, so that
// there are far fewer of them than handlers.
func Connect(cfg Config) (redis.UniversalClient, error) {
	a, err := parseURL(cfg.RedisURL)
	if err == nil {
		err = a.useTLS()
	}
	if err != nil {
		return nil, err
	}
	return a.open(poolSize(cfg.Queues)), nil
}

// poolSize gives each queue one connection for its polling and one for its
// housekeeping, each fourth handler one for its acknowledgement (0.1 ms after
// work that takes longer by far), and dispatch its senders. On a Cluster it
// holds for each node.
func poolSize(q Queues) int {
	return min(senders+2*len(q)+q.Concurrency()/4, 512)
}

func (a address) open(poolSize int) redis.UniversalClient {
	opts := &redis.UniversalOptions{
		Addrs: a.addrs, DB: a.db, Username: a.user, Password: a.password,
		MasterName: a.master, SentinelUsername: a.sentinelUser, SentinelPassword: a.sentinelPassword,
		TLSConfig: a.tls, Dialer: newCircle(redis.NewDialer(&redis.Options{DialTimeout: dialTimeout, TLSConfig: a.tls})).connect,
		MaxRetries: -1, DialerRetries: 1,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		ContextTimeoutEnabled: true,
		PoolSize:              poolSize, PoolTimeout: ioTimeout,
		// A Redis Enterprise feature that costs each new connection a round trip.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	switch a.form {
	case sentinel:
		return redis.NewFailoverClient(opts.Failover())
	case cluster:
		return sendOnce(redis.NewClusterClient(opts.Cluster()))
	}
	return redis.NewClient(opts.Simple())
}

// sendOnce keeps a Cluster client from repeating a command whose answer was
// lost, which MaxRetries does not: its loop over redirections takes a network
// error for one.
func sendOnce(c *redis.ClusterClient) *redis.ClusterClient {
	c.OnNewNode(func(node *redis.Client) { node.AddHook(onceHook{}) })
	return c
}

// onceHook makes an error after which nobody knows whether the command was
// carried out look like none that go-redis repeats a command for. Refusals
// (MOVED, LOADING, a failed dial) stay as they are. Pipelines are left alone:
// asynq has none, and those of the layer, which write, go by a node's own client
// (see run).
type onceHook struct{}

func (onceHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (onceHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (onceHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		var network net.Error
		var op *net.OpError
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return err // never repeated
		case errors.As(err, &op) && op.Op == "dial":
			return err // never sent
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
			return answerLost{err}
		}
		return err
	}
}

// answerLost hides its cause from errors.Is and errors.As, by which go-redis
// decides.
type answerLost struct{ cause error }

func (e answerLost) Error() string { return "the answer was lost: " + e.cause.Error() }
