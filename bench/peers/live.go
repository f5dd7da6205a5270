package peers

import (
	"bufio"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/bench/crowd"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/live"
	"github.com/postrider/postrider/internal/socketio"
)

// ServeSocketIO is internal/socketio alone, with the handlers of socketio.mjs:
// clients are in the rooms that they name, "shout" tells a room, "echo" is
// answered.
func ServeSocketIO(ctx context.Context, _ Spec, in io.Reader, out io.Writer) error {
	server := socketio.New(socketio.Config{Logger: quiet()})
	all := server.Namespace("/")
	all.OnConnect(func(_ context.Context, k *socketio.Socket, given stdjson.RawMessage) error {
		var asked struct{ Rooms []string }
		if err := stdjson.Unmarshal(given, &asked); err != nil {
			return fmt.Errorf("reading auth: %w", err)
		}
		k.Join(asked.Rooms...)
		return nil
	})
	var failed error // of the one client that shouts
	all.Handle("shout", func(_ context.Context, _ *socketio.Socket, e socketio.Event) {
		var room string
		err := e.Bind(&room)
		if err == nil {
			err = all.To(room).Emit("notification", e.Raw(1))
		}
		failed = errors.Join(failed, err)
	})
	all.Handle("echo", func(_ context.Context, _ *socketio.Socket, e socketio.Event) { _ = e.Ack(e.Raw(0)) })
	err := serveLive(ctx, server, in, out)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(stop), failed)
}

// ServeHub is the whole of a process' live part: tokens, revocation, rooms,
// presence, and what a Publisher sends over Redis. It has no inbox: the crowd's
// clients never were away, and send no notifications.
func ServeHub(ctx context.Context, spec Spec, in io.Reader, out io.Writer) error {
	rdb := redis.NewClient(&redis.Options{Addr: spec.Redis})
	hub, err := live.New(live.Options{
		Config:    live.Config{Connections: 20, Queue: 4 << 20},
		Redis:     rdb,
		Tokens:    auth.NewTokens(auth.TokenOptions{Config: auth.Config{JWTSecret: crowd.Secret, JWTUserClaim: "sub"}, Log: quiet()}),
		Publisher: live.NewPublisher(rdb),
		Limiter:   limit.New(rdb, quiet()),
		Log:       quiet(),
		Metrics:   prometheus.NewRegistry(),
	})
	if err != nil {
		return errors.Join(fmt.Errorf("making a Hub: %w", err), rdb.Close())
	}
	hub.Start()
	err = serveLive(ctx, hub, in, out)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = errors.Join(err, hub.Drain(stop))
	hub.Stop()
	return errors.Join(err, rdb.Close())
}

// serveLive serves clients until in ends. Its one command, "collect", gives back
// the memory that is not in use.
func serveLive(ctx context.Context, handler http.Handler, in io.Reader, out io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	answers := stdjson.NewEncoder(out)
	err = answers.Encode(map[string]string{"addr": listener.Addr().String()})
	for lines := bufio.NewScanner(in); err == nil && lines.Scan(); {
		debug.FreeOSMemory()
		err = answers.Encode(struct{}{})
	}
	err = errors.Join(err, web.Close())
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
