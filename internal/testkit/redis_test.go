package testkit_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

// limit bounds what a test waits for; nothing here takes that long.
const limit = 20 * time.Second

func TestRedisForms(t *testing.T) {
	for name, form := range map[string]struct {
		start  func(testing.TB, ...string) *testkit.RedisServer
		scheme string
	}{
		"tcp":  {testkit.Redis, "redis://:secret@127.0.0.1:"},
		"unix": {testkit.RedisUnix, "unix://:secret@/"},
		"tls":  {testkit.RedisTLS, "rediss://:secret@127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			s := form.start(t, "requirepass secret")
			if !strings.HasPrefix(s.URL(), form.scheme) {
				t.Errorf("URL %s, want %s…", s.URL(), form.scheme)
			}
			// The URL alone, as a product under test gets it, must do.
			opts, err := redis.ParseURL(s.URL())
			if err != nil {
				t.Fatal(err)
			}
			opts.TLSConfig = s.TLS
			c := redis.NewClient(opts)
			defer c.Close()
			if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatalf("%s: %v", s.URL(), err)
			}
			if got := s.Client().Get(t.Context(), "k").Val(); got != "v" {
				t.Errorf("read %q through Client, want v", got)
			}
		})
	}
}

func TestRedisRestart(t *testing.T) {
	for _, test := range []struct{ name, conf, want string }{
		{"memory only", "appendonly no", ""},
		{"append-only file", "appendonly yes", "v"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := testkit.Redis(t, test.conf, "appendfsync always")
			addr := s.Addr
			c := s.Client()
			for _, end := range []func(){s.Kill, s.Stop, func() {}} {
				if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
					t.Fatal(err)
				}
				end()
				s.Restart()
				if s.Addr != addr {
					t.Fatalf("restarted on %s, was on %s", s.Addr, addr)
				}
				if got := s.Client().Get(t.Context(), "k").Val(); got != test.want {
					t.Errorf("after a restart %q, want %q", got, test.want)
				}
			}
		})
	}
}

func TestRedisPauseAndFlush(t *testing.T) {
	s := testkit.Redis(t)
	opts := s.Options()
	opts.ContextTimeoutEnabled, opts.MaxRetries = true, -1
	c := redis.NewClient(opts)
	defer c.Close()
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Pause()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Get(short, "k").Err(); err == nil {
		t.Error("a paused server answered")
	}
	s.Resume()
	if got, err := c.Get(t.Context(), "k").Result(); got != "v" {
		t.Errorf("after Resume %q, %v", got, err)
	}
	s.FlushAll()
	if n := c.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys after FlushAll", n)
	}
	s.Pause() // the test's end must kill it all the same
}

func TestTwoRedisAtOnce(t *testing.T) {
	a, b := testkit.Redis(t), testkit.Redis(t)
	a.Client().Set(t.Context(), "k", "a", 0)
	if n := b.Client().Exists(t.Context(), "k").Val(); n != 0 {
		t.Error("two servers share their data")
	}
}

func TestRedisEndsWithItsTest(t *testing.T) {
	var addr string
	t.Run("test", func(t *testing.T) { addr = testkit.Redis(t).Addr })
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Errorf("%s still listens", addr)
	}
}

func TestCluster(t *testing.T) {
	cluster := testkit.Cluster(t, 3)
	if want := "redis+cluster://" + strings.Join(cluster.Addrs(), ","); cluster.URL() != want {
		t.Errorf("URL %s, want %s", cluster.URL(), want)
	}
	c := cluster.Client()
	for i := range 100 {
		if err := c.Set(t.Context(), fmt.Sprint("key-", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range cluster.Masters {
		if n := m.Client().DBSize(t.Context()).Val(); n < 10 {
			t.Errorf("node %s took %d of 100 keys, want a fair share", m.Addr, n)
		}
	}
	cluster.FlushAll()
	for _, m := range cluster.Masters {
		if n := m.Client().DBSize(t.Context()).Val(); n != 0 {
			t.Errorf("%d keys after FlushAll", n)
		}
	}
}

func TestSentinel(t *testing.T) {
	s := testkit.Sentinel(t)
	c := s.Client()
	write := func() error { return c.Set(t.Context(), "k", "v", 0).Err() }
	if err := write(); err != nil {
		t.Fatal(err)
	}
	first := s.Master()
	s.Failover()
	if s.Master() == first {
		t.Fatal("the master is the same after Failover")
	}
	testkit.WaitFor(t, limit, "writes reach the new master", func() bool { return write() == nil })
	killed := s.KillMaster()
	if s.Master() == killed || s.Master() != first {
		t.Fatal("the master is not the other server after KillMaster")
	}
	testkit.WaitFor(t, limit, "writes reach the next master", func() bool { return write() == nil })
}

// A power cut takes what came after the mark, and only that.
func TestRedisCutPower(t *testing.T) {
	s := testkit.Redis(t, "appendonly yes", "appendfsync everysec")
	c := s.Client()
	set := func(key string) {
		t.Helper()
		if err := c.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		// It answers before it has written where the disk is busy.
		testkit.WaitFor(t, limit, "Redis to write what it was told", func() bool {
			info, err := c.Info(t.Context(), "persistence").Result()
			return err == nil && strings.Contains(info, "aof_buffer_length:0\r")
		})
	}
	set("before")
	tail := s.MarkTail()
	set("after")
	if lost := s.CutPower(tail); lost == 0 {
		t.Error("nothing was lost")
	}
	s.Restart()
	testkit.WaitFor(t, limit, "the client to have its connection back", func() bool { return c.Ping(t.Context()).Err() == nil })
	for key, want := range map[string]int64{"before": 1, "after": 0} {
		if n, err := c.Exists(t.Context(), key).Result(); err != nil || n != want {
			t.Errorf("there are %d of %s, want %d: %v", n, key, want, err)
		}
	}
}
