package roster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/roster"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 30 * time.Second

func join(t *testing.T, rdb redis.UniversalClient, p roster.Process) *roster.Member {
	t.Helper()
	m, err := roster.NewMember(rdb, p, testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	m.Start()
	t.Cleanup(func() { leave(t, m) })
	return m
}

func leave(t *testing.T, m *roster.Member) {
	t.Helper()
	if err := m.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func list(t *testing.T, rdb redis.UniversalClient) []roster.Process {
	t.Helper()
	all, err := roster.List(t.Context(), rdb)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wait(t *testing.T, rdb redis.UniversalClient, n int) []roster.Process {
	t.Helper()
	testkit.WaitFor(t, patience, fmt.Sprintf("there are %d processes", n), func() bool { return len(list(t, rdb)) == n })
	return list(t, rdb)
}

func TestComeAndGo(t *testing.T) {
	rdb := testkit.Redis(t).Client()
	t.Cleanup(func() { _ = rdb.Close() })
	if all := list(t, rdb); len(all) != 0 {
		t.Errorf("at first there are %v", all)
	}
	started := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	worker := roster.Process{Name: "b-2-x", Role: "worker", Host: "b", PID: 2, Version: "v1", Started: started, Queues: "default 3, email 2"}
	m := join(t, rdb, worker)
	join(t, rdb, roster.Process{Name: "c-3-x", Role: "api", Host: "c", PID: 3, Started: started})
	all := wait(t, rdb, 2)
	if all[0].Name != "c-3-x" || all[0].Role != "api" {
		t.Errorf("the first is %+v", all[0])
	}
	got := all[1]
	if got.Silent() || got.Unheard > patience {
		t.Errorf("it was not heard of for %v", got.Unheard)
	}
	if got.Unheard = 0; got != worker {
		t.Errorf("it is %+v, want %+v", got, worker)
	}
	leave(t, m)
	if all := list(t, rdb); len(all) != 1 || all[0].Name != "c-3-x" {
		t.Errorf("after one has left there are %+v", all)
	}
}

// One that was killed is silent, and then forgotten.
func TestKilled(t *testing.T) {
	rdb := testkit.Redis(t).Client()
	t.Cleanup(func() { _ = rdb.Close() })
	m := join(t, rdb, roster.Process{Name: "a-1-x", Role: "worker", Host: "a", PID: 1})
	wait(t, rdb, 1)
	leave(t, m) // no more beats; what a killed one leaves is put back by hand
	ctx := t.Context()
	say := func(left time.Duration) {
		if err := rdb.SAdd(ctx, "postrider:roster", "a-1-x").Err(); err != nil {
			t.Fatal(err)
		}
		if err := rdb.Set(ctx, "postrider:roster:a-1-x", `{"role":"worker"}`, left).Err(); err != nil {
			t.Fatal(err)
		}
	}
	say(40 * time.Second)
	if all := list(t, rdb); len(all) != 1 || !all[0].Silent() {
		t.Errorf("silent is %+v", all)
	}
	say(time.Millisecond)
	wait(t, rdb, 0)
	if n := rdb.SCard(ctx, "postrider:roster").Val(); n != 0 {
		t.Errorf("%d names are left", n)
	}
}

// A process tells of itself to a Redis that comes back empty.
func TestAfterAnOutage(t *testing.T) {
	server := testkit.Redis(t)
	rdb := server.Client()
	t.Cleanup(func() { _ = rdb.Close() })
	join(t, rdb, roster.Process{Name: "a-1-x", Role: "worker"})
	wait(t, rdb, 1)
	server.FlushAll()
	wait(t, rdb, 1)
	server.Kill()
	if _, err := roster.List(t.Context(), rdb); err == nil {
		t.Error("without Redis there is a list")
	}
}
