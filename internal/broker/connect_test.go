package broker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	good := newRig(t, testkit.Redis(t).URL())
	if warnings, err := Check(bound(t), good.rdb); err != nil || len(warnings) > 0 {
		t.Errorf("a Redis that will do: %v, %v", warnings, err)
	}
	srv := testkit.Redis(t, "maxmemory-policy allkeys-lru")
	evicts := newRig(t, srv.URL())
	warnings, err := Check(bound(t), evicts.rdb)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "allkeys-lru") {
		t.Errorf("a Redis that evicts: %v, %v", warnings, err)
	}
	srv.Kill()
	if _, err := Check(bound(t), evicts.rdb); err == nil {
		t.Error("a Redis that is away passed")
	}
	if evicts.Ping(bound(t)) == nil {
		t.Error("a Redis that is away answered a ping")
	}
}

func TestCheckCluster(t *testing.T) {
	t.Parallel()
	cluster := testkit.Cluster(t, 3)
	r := newRig(t, cluster.URL())
	bad := cluster.Masters[1]
	if err := bad.Client().ConfigSet(bound(t), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	warnings, err := Check(bound(t), r.rdb)
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], bad.Addr) {
		t.Errorf("warnings %q, %v; want one that names %s", warnings, err, bad.Addr)
	}
}

func TestOlder(t *testing.T) {
	for version, want := range map[string]bool{
		"5.0.14": true, "6.0.20": true, "6.1": true, "6.2.0": false, "6.2": false, "7.0.15": false, "10.0.0": false, "unstable": false, "x.y": false,
	} {
		if older(version) != want {
			t.Errorf("older(%s) is %v", version, !want)
		}
	}
}

// TestNothingIsSentTwice swallows an answer: the command was carried out, and
// the client must not carry it out again.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	proxy := testkit.TCPProxy(t, srv.Addr)
	clients := map[string]redis.UniversalClient{
		"single": address{addrs: []string{proxy.Addr}}.open(4),
		"cluster": sendOnce(redis.NewClusterClient(&redis.ClusterOptions{
			ContextTimeoutEnabled: true,
			// One server that is no Cluster plays one.
			ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
				return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: proxy.Addr}}}}, nil
			},
		})),
	}
	for name, c := range clients {
		defer c.Close()
		script := redis.NewScript(`return redis.call("INCR", KEYS[1]) -- ` + name)
		key := "count-" + name
		if err := script.Run(bound(t), c, []string{key}).Err(); err != nil {
			t.Fatal(err)
		}
		proxy.DropReplyTo(key)
		if err := script.Run(bound(t), c, []string{key}).Err(); err == nil {
			t.Errorf("%s: no error although the answer was lost", name)
		}
		if n, err := srv.Client().Get(bound(t), key).Int(); err != nil || n != 2 {
			t.Errorf("%s: carried out %d times, %v; want 2", name, n, err)
		}
		if err := script.Run(bound(t), c, []string{key}).Err(); err != nil {
			t.Errorf("%s: after a lost answer: %v", name, err)
		}
	}
}

// TestContextIsHeeded asks a Redis that hangs.
func TestContextIsHeeded(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r := newRig(t, srv.URL())
	task := ephemeral()
	r.dispatch(task)
	srv.Pause()
	defer srv.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := inspector(ctx, r.rdb).GetTaskInfo(task.Queue, task.TaskID()); err == nil {
		t.Error("a Redis that hangs answered")
	}
	if took := time.Since(began); took > ioTimeout/2 {
		t.Errorf("it took %v", took)
	}
}
