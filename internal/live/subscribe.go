package live

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// quiet is how long a subscription may say nothing before it is asked whether
	// it is there, and then again how long it may take to answer. It is below the
	// time after which the client of Redis (internal/broker) takes a read in vain
	// for the sign of a dead network, and hangs all its connections up.
	quiet = 2 * time.Second
	// resubscribePause is between two tries to subscribe.
	resubscribePause = 500 * time.Millisecond
)

// listen hands on what comes by a channel until ctx ends, and subscribes anew
// whenever a subscription is lost.
func (h *Hub) listen(ctx context.Context, channel string) {
	failing := false
	for ctx.Err() == nil {
		err := h.follow(ctx, channel, func() {
			if failing {
				h.log.Info("messages for connected clients come in again", "channel", channel)
			}
			failing = false
		})
		if ctx.Err() != nil {
			return
		}
		if !failing {
			h.log.Warn("messages for connected clients cannot come in; trying again", "channel", channel, "err", err)
		}
		failing = true
		select {
		case <-ctx.Done():
		case <-time.After(resubscribePause):
		}
	}
}

// follow subscribes, and hands on what comes until the subscription is lost.
func (h *Hub) follow(ctx context.Context, channel string, subscribed func()) error {
	subscribe := h.o.Redis.Subscribe
	if sharded(h.o.Redis) {
		subscribe = h.o.Redis.SSubscribe
	}
	sub := subscribe(ctx, channel)
	defer func() { _ = sub.Close() }()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // a read does not heed ctx
	asked := false
	for {
		got, err := sub.ReceiveTimeout(ctx, quiet)
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() && !asked && ctx.Err() == nil {
			asked = true
			if err = sub.Ping(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		asked = false
		switch got := got.(type) {
		case *redis.Subscription:
			// What was published before is lost to the clients that there are. The
			// client also subscribes by itself, after a cut that it has met.
			subscribed()
			h.resync()
		case *redis.Message:
			h.deliver(got.Payload)
		}
	}
}
