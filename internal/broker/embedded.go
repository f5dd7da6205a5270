package broker

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embeddedTick is how often the embedded Redis looks for keys whose time is
// over.
const embeddedTick = time.Second

// Embedded starts a Redis inside this process (miniredis), for a laptop: it
// listens on a free port of 127.0.0.1, under a password that it makes up, and
// keeps all in memory, which ends with stop. stop may be called once and waits
// for all to end.
func Embedded(log *slog.Logger) (redisURL string, stop func(), err error) {
	password := rand.Text()
	mini := miniredis.NewMiniRedis()
	mini.RequireAuth(password)
	if err := mini.Start(); err != nil {
		return "", nil, fmt.Errorf("starting the embedded Redis: %w", err)
	}
	component(log).Debug("the embedded Redis listens", "addr", mini.Addr())

	done := make(chan struct{})
	var clock sync.WaitGroup
	// Its keys expire only as it is told that time passes.
	clock.Go(func() {
		tick := time.NewTicker(embeddedTick)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				mini.FastForward(now.Sub(last))
				last = now
			}
		}
	})
	stop = func() {
		close(done)
		clock.Wait()
		mini.Close()
	}
	u := url.URL{Scheme: "redis", Host: mini.Addr(), User: url.UserPassword("", password), Path: "/0"}
	return u.String(), stop, nil
}
