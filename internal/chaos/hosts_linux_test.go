package chaos_test

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/chaos"
	"github.com/postrider/postrider/internal/testkit"
)

// apart tells a test that it runs in a network namespace of its own.
const apart = "POSTRIDER_TEST_APART"

// delay is how long a packet is under way.
const delay = time.Millisecond

// TestHosts is a run over several hosts: three with programs, one with Redis,
// one with PostgreSQL, 1 ms from each other. It takes minutes, and so needs
// POSTRIDER_TEST_ALL=1; and it needs root. It runs itself again in a network
// namespace, so that nothing of the machine's own network is touched.
func TestHosts(t *testing.T) {
	switch {
	case os.Getenv("POSTRIDER_TEST_ALL") == "":
		return
	case os.Getenv(apart) == "":
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestHosts$", "-test.v", "-test.count=1", "-test.timeout=20m")
		cmd.Env = append(os.Environ(), apart+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("running in a network namespace, which needs root: %v", err)
		}
		return
	}
	network, self := testkit.NewNetwork(t, delay)
	hosts := &chaos.Hosts{Test: self, Redis: network.Host(), Postgres: network.Host()}
	for range 3 {
		hosts.Apps = append(hosts.Apps, network.Host())
	}
	checkNetwork(t, hosts.Apps[0])
	run(t, chaos.Build(t), scene{name: "five hosts, 1 ms apart", hosts: hosts, acts: chaos.Severed(), rate: 30, engine: func(t *testing.T) (e chaos.Engine) {
		hosts.Redis.Do(func() {
			e.Single = testkit.Redis(t, "bind "+hosts.Redis.IP(), "protected-mode no",
				"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction")
		})
		return e
	}})
}

// checkNetwork sees that a host is as far away as it should, and out of reach
// while it is cut off.
func checkNetwork(t *testing.T, host chaos.Host) {
	t.Helper()
	var l net.Listener
	host.Do(func() {
		var err error
		if l, err = net.Listen("tcp", net.JoinHostPort(host.IP(), "0")); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()
	dial := func(limit time.Duration) (time.Duration, error) {
		began := time.Now()
		conn, err := net.DialTimeout("tcp", l.Addr().String(), limit)
		if err == nil {
			conn.Close()
		}
		return time.Since(began), err
	}
	const patience = 20 * time.Second
	if took, err := dial(patience); err != nil || took < 2*delay {
		t.Fatalf("connecting takes %v, %v; want a way of %v and back", took, err, delay)
	}
	host.Cut()
	if _, err := dial(time.Second); err == nil {
		t.Fatal("a host that is cut off can be reached")
	}
	host.Heal()
	if _, err := dial(patience); err != nil {
		t.Fatalf("a host that is back: %v", err)
	}
}
