package broker

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

func TestEmbedded(t *testing.T) {
	t.Parallel()
	log, lines := testkit.CaptureLog(t)
	redisURL, stop, err := Embedded(log)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r := newRig(t, redisURL)
	if err := r.rdb.Set(bound(t), "short", "x", time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	testkit.WaitFor(t, patience, "a key expires by itself", func() bool { return r.rdb.Exists(bound(t), "short").Val() == 0 })

	// It has no run id; its flush is seen all the same.
	r.settle("default")
	if err := r.rdb.FlushAll(bound(t)).Err(); err != nil {
		t.Fatal(err)
	}
	r.settle("default")

	a, err := parseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	stranger := redis.NewClient(&redis.Options{Addr: a.addrs[0], MaxRetries: -1})
	defer stranger.Close()
	if err := stranger.Set(bound(t), "k", "v", 0).Err(); err == nil {
		t.Error("it serves who has no password")
	}
	if lines.Count(a.password) > 0 {
		t.Error("its password was logged")
	}
}
