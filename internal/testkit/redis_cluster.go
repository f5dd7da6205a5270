package testkit

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RedisCluster is a Redis Cluster that belongs to one test.
type RedisCluster struct {
	// Masters share the 16,384 slots evenly and in order; none has a replica.
	Masters []*RedisServer

	t testing.TB
}

// clusterSlots is the number of hash slots (Redis Cluster specification, "Key
// distribution model").
const clusterSlots = 16384

// Cluster starts a Redis Cluster of so many masters, at least 3 (a cluster with
// fewer cannot agree on a failure), and returns when every node calls it ok: in
// about three seconds, two of which Redis waits before a new master serves.
func Cluster(t testing.TB, masters int) *RedisCluster {
	t.Helper()
	if masters < 3 {
		t.Fatalf("a Redis Cluster needs 3 masters or more, not %d", masters)
	}
	c := &RedisCluster{t: t}
	for range masters {
		// The bus port is the port plus 10,000 by default, which is free or fails
		// the start, and then another port is tried.
		c.Masters = append(c.Masters, Redis(t, "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 5000"))
	}
	for i, m := range c.Masters {
		slots := []any{"CLUSTER", "ADDSLOTS"}
		for slot := i * clusterSlots / masters; slot < (i+1)*clusterSlots/masters; slot++ {
			slots = append(slots, slot)
		}
		m.do(slots...)
		// Distinct epochs at once, or the nodes take seconds to settle on some.
		m.do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for _, m := range c.Masters[1:] {
		host, port, err := net.SplitHostPort(m.Addr)
		if err != nil {
			t.Fatalf("reading a cluster node's address: %v", err)
		}
		c.Masters[0].do("CLUSTER", "MEET", host, port)
	}
	c.AwaitOK()
	return c
}

// AwaitOK returns when every node knows all others and calls the cluster ok.
func (c *RedisCluster) AwaitOK() {
	c.t.Helper()
	known := fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.Masters))
	for _, m := range c.Masters {
		WaitFor(c.t, startLimit, "node "+m.Addr+" calls its cluster ok", func() bool {
			info := fmt.Sprint(m.do("CLUSTER", "INFO"))
			return strings.Contains(info, "cluster_state:ok\r\n") && strings.Contains(info, known)
		})
	}
}

// Addrs returns the nodes' addresses.
func (c *RedisCluster) Addrs() []string {
	var addrs []string
	for _, m := range c.Masters {
		addrs = append(addrs, m.Addr)
	}
	return addrs
}

// URL returns the cluster's address as REDIS_URL takes it.
func (c *RedisCluster) URL() string { return "redis+cluster://" + strings.Join(c.Addrs(), ",") }

// Client returns a new client, closed when the test ends.
func (c *RedisCluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// FlushAll empties every node.
func (c *RedisCluster) FlushAll() {
	c.t.Helper()
	for _, m := range c.Masters {
		m.FlushAll()
	}
}
