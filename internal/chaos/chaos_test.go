package chaos_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/chaos"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestChaos is the short form; with POSTRIDER_TEST_ALL=1, as `make chaos` and
// `make test-all` run it, it is the long one. POSTRIDER_CHAOS_SEED repeats the
// draws of a run.
func TestChaos(t *testing.T) {
	programs := chaos.Build(t)
	single := func(t *testing.T) chaos.Engine {
		return chaos.Engine{Single: testkit.Redis(t, "appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction")}
	}
	if os.Getenv("POSTRIDER_TEST_ALL") == "" {
		run(t, programs, scene{name: "single Redis, short", engine: single, acts: chaos.Short(), rate: 30})
		return
	}
	run(t, programs,
		scene{name: "single Redis", engine: single, acts: chaos.Long(), rate: 50},
		scene{name: "Sentinel", engine: func(t *testing.T) chaos.Engine { return chaos.Engine{Sentinel: testkit.Sentinel(t)} }, acts: chaos.Failover(), rate: 50},
		scene{name: "Cluster", engine: func(t *testing.T) chaos.Engine { return chaos.Engine{Cluster: testkit.Cluster(t, 3)} }, acts: chaos.Shards(), rate: 50},
	)
}

// TestReplicas has workers come and go under load. The short form takes them
// away by SIGTERM alone, since a killed one's jobs come back when leases end.
func TestReplicas(t *testing.T) {
	s := scene{name: "workers come and go, short", acts: chaos.Replicas(), rate: 40}
	if os.Getenv("POSTRIDER_TEST_ALL") != "" {
		s = scene{name: "workers come and go", acts: chaos.Waves(), rate: 60}
	}
	s.engine = func(t *testing.T) chaos.Engine {
		return chaos.Engine{Single: testkit.Redis(t, "maxmemory-policy noeviction")}
	}
	run(t, chaos.Build(t), s)
}

type scene struct {
	name   string
	engine func(*testing.T) chaos.Engine
	acts   []chaos.Act
	rate   int
	hosts  *chaos.Hosts
}

func run(t *testing.T, programs chaos.Programs, scenes ...scene) {
	t.Helper()
	seed := seed(t)
	var reports []chaos.Report
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			r := chaos.Run(t, chaos.Plan{
				Name: s.name, Programs: programs, Engine: s.engine(t), Hosts: s.hosts, Seed: seed,
				Acts: s.acts, Rate: s.rate, Settle: 3 * time.Minute,
			})
			reports = append(reports, r)
			for _, breach := range r.Breaches() {
				t.Error(breach)
			}
		})
	}
	if err := chaos.WriteTable(os.Stdout, reports...); err != nil {
		t.Error(err)
	}
}

func seed(t *testing.T) uint64 {
	t.Helper()
	given := os.Getenv("POSTRIDER_CHAOS_SEED")
	if given == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(given, 10, 64)
	if err != nil {
		t.Fatalf("POSTRIDER_CHAOS_SEED: %v", err)
	}
	return n
}
