package testkit

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// sentinelMaster is the name under which the Sentinels watch the master.
const sentinelMaster = "postrider"

// RedisSentinel is a master and a replica under the watch of three Sentinels,
// of which two must agree, that belongs to one test.
type RedisSentinel struct {
	// Nodes are the two data servers; at the start the first is the master.
	Nodes []*RedisServer
	// Sentinels watch them.
	Sentinels []*RedisServer

	t testing.TB
}

// Sentinel starts a master, a replica and three Sentinels, and returns when all
// of them know each other. A master is held for dead after one second.
func Sentinel(t testing.TB) *RedisSentinel {
	t.Helper()
	s := &RedisSentinel{t: t}
	master := Redis(t)
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatalf("reading the master's address: %v", err)
	}
	replica := Redis(t, "replicaof "+host+" "+port)
	s.Nodes = []*RedisServer{master, replica}
	// A Sentinel that meets a replica which is still connecting asks it again
	// only after ten seconds.
	WaitFor(t, startLimit, "the replica follows its master", func() bool {
		return strings.Contains(replica.info(), "master_link_status:up")
	})
	for range 3 {
		sentinel := newRedis(t, "tcp", nil)
		sentinel.args = []string{"--sentinel"}
		sentinel.conf = []string{
			"bind 127.0.0.1",
			"sentinel monitor " + sentinelMaster + " " + host + " " + port + " 2",
			"sentinel down-after-milliseconds " + sentinelMaster + " 1000",
			"sentinel failover-timeout " + sentinelMaster + " 3000",
		}
		sentinel.startOnFreePort("port")
		// By default they greet each other every 2 s, and a failover waits for
		// several greetings (Redis 7.0 or newer).
		sentinel.do("SENTINEL", "DEBUG", "PUBLISH-PERIOD", 200, "INFO-PERIOD", 500)
		s.Sentinels = append(s.Sentinels, sentinel)
	}
	for _, sentinel := range s.Sentinels {
		WaitFor(t, startLimit, "Sentinel "+sentinel.Addr+" knows the replica and the other Sentinels", func() bool {
			return s.masterField(sentinel, "num-slaves") == "1" && s.masterField(sentinel, "num-other-sentinels") == "2"
		})
	}
	return s
}

// URL returns the address as REDIS_URL takes it.
func (s *RedisSentinel) URL() string {
	return "redis+sentinel://" + strings.Join(s.addrs(), ",") + "/" + sentinelMaster + "/0"
}

// Client returns a new client that follows the master, closed when the test
// ends.
func (s *RedisSentinel) Client() *redis.Client {
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: sentinelMaster, SentinelAddrs: s.addrs()})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Master returns the data server that the first Sentinel takes for the master.
func (s *RedisSentinel) Master() *RedisServer {
	s.t.Helper()
	addr := s.masterAddr(s.Sentinels[0])
	for _, n := range s.Nodes {
		if n.Addr == addr {
			return n
		}
	}
	s.t.Fatalf("Sentinel names a master that is none of ours: %s", addr)
	return nil
}

// Failover has the Sentinels make the replica the master, as an operator does
// before maintenance, and returns when all agree and the old master follows the
// new one.
func (s *RedisSentinel) Failover() {
	s.t.Helper()
	old := s.Master()
	s.Sentinels[0].do("SENTINEL", "FAILOVER", sentinelMaster)
	s.awaitMasterOtherThan(old)
	WaitFor(s.t, startLimit, "the old master follows the new one", func() bool {
		return strings.Contains(old.info(), "master_link_status:up")
	})
}

// KillMaster kills the master and returns when all Sentinels have agreed on the
// other server. What had not been replicated is lost, as it is in life. It
// returns the killed server.
func (s *RedisSentinel) KillMaster() *RedisServer {
	s.t.Helper()
	old := s.Master()
	old.Kill()
	s.awaitMasterOtherThan(old)
	return old
}

// awaitMasterOtherThan waits until every Sentinel names the other server and
// that one takes writes.
func (s *RedisSentinel) awaitMasterOtherThan(old *RedisServer) {
	s.t.Helper()
	next := s.Nodes[0]
	if next == old {
		next = s.Nodes[1]
	}
	for _, sentinel := range s.Sentinels {
		WaitFor(s.t, startLimit, "Sentinel "+sentinel.Addr+" names the new master", func() bool {
			return s.masterAddr(sentinel) == next.Addr
		})
	}
	WaitFor(s.t, startLimit, "the new master takes its role", func() bool {
		return strings.Contains(next.info(), "role:master")
	})
}

func (s *RedisSentinel) addrs() []string {
	var addrs []string
	for _, sentinel := range s.Sentinels {
		addrs = append(addrs, sentinel.Addr)
	}
	return addrs
}

// masterAddr returns the master's address by one Sentinel.
func (s *RedisSentinel) masterAddr(sentinel *RedisServer) string {
	return net.JoinHostPort(s.masterField(sentinel, "ip"), s.masterField(sentinel, "port"))
}

// masterField returns one field of SENTINEL MASTER.
func (s *RedisSentinel) masterField(sentinel *RedisServer, field string) string {
	s.t.Helper()
	answer, ok := sentinel.do("SENTINEL", "MASTER", sentinelMaster).(map[any]any)
	if !ok {
		s.t.Fatalf("SENTINEL MASTER answered something else than a map")
	}
	return fmt.Sprint(answer[field])
}
