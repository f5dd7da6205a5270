package chaos

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// Host is a machine that parts of a run are on.
type Host interface {
	// IP is its address.
	IP() string
	// Do has what f listens on, and the programs that f starts, be there.
	Do(f func())
	// Cut has all packets to it and from it be lost, without a word to anybody.
	Cut()
	// Heal ends a Cut.
	Heal()
}

// Hosts is where the parts of a run are. The test is on a host too: with the
// clients and the mail server.
type Hosts struct {
	Test, Redis, Postgres Host
	// Apps are the hosts of the programs: the n-th api and worker are on the n-th,
	// the n-th scheduler is on the one after it.
	Apps []Host
}

// app is the host of the n-th process of a kind, nil where there are no hosts.
func (h *Hosts) app(n int) Host {
	if h == nil {
		return nil
	}
	return h.Apps[n%len(h.Apps)]
}

// startPostgres starts the database of a run on its host.
func (h *Hosts) startPostgres(t testing.TB) (pg *testkit.PostgresCluster) {
	t.Helper()
	settings := []string{"fsync=on", "full_page_writes=on"}
	if h == nil {
		return testkit.PostgresServer(t, settings...)
	}
	settings = append(settings, "listen_addresses="+h.Postgres.IP())
	h.Postgres.Do(func() { pg = testkit.PostgresServer(t, settings...) })
	return pg
}

// mailIP is the address that the mail server is reached at.
func (h *Hosts) mailIP() string {
	if h == nil {
		return "127.0.0.1"
	}
	return h.Test.IP()
}

// Severed is for a run over hosts, which are cut off one after another.
func Severed() []Act {
	return []Act{
		{"a host with a worker, a scheduler and an api is cut off for longer than leases last", func(h *harness) {
			h.mailTroubles()
			p := h.fleet.workers[1]
			h.awaitBusy(p)
			lost := h.sever(p)
			h.await(lost)
			h.pause(time.Until(lost.at.Add(suspension)))
			h.heal(p)
			h.pause(time.Second)
		}},
		{"the host of Redis is cut off", func(h *harness) {
			h.awaitScheduler()
			h.cutOff("Redis", h.plan.Hosts.Redis, h.between(3*time.Second, 8*time.Second))
			h.await(h.redisReturned())
		}},
		{"the host of PostgreSQL is cut off", func(h *harness) {
			h.cutOff("PostgreSQL", h.plan.Hosts.Postgres, h.between(3*time.Second, 8*time.Second))
			h.pause(2 * time.Second)
		}},
		{"a host is cut off, and Redis' meanwhile", func(h *harness) {
			h.awaitScheduler()
			p := h.busyWorker()
			lost := h.sever(p)
			h.cutOff("Redis", h.plan.Hosts.Redis, h.between(2*time.Second, 5*time.Second))
			back := h.redisReturned()
			h.await(lost)
			h.await(back)
			h.pause(time.Until(lost.at.Add(suspension)))
			h.heal(p)
		}},
	}
}

// arrival is how long a packet may still be on its way when a host is cut off,
// until the test has read it.
const arrival = 200 * time.Millisecond

// sever cuts the process's host off, with all that is on it, and marks that.
func (h *harness) sever(p *process) *mark {
	h.t.Helper()
	h.fault("the host of %s is cut off", p.name)
	p.host.Cut()
	h.pause(arrival)
	now := time.Now()
	h.stopped = append(h.stopped, interval{from: now, severed: true})
	h.leaderless = now.Add(takeover)
	return h.workerLost(p, now)
}

// heal brings the process's host back.
func (h *harness) heal(p *process) {
	h.t.Helper()
	h.stopped[len(h.stopped)-1].to = time.Now()
	h.tell("the host of %s is back", p.name)
	p.host.Heal()
}

// cutOff cuts a host off for a while.
func (h *harness) cutOff(what string, host Host, d time.Duration) {
	h.t.Helper()
	h.fault("the host of %s is cut off for %s", what, d.Round(time.Millisecond))
	host.Cut()
	h.pause(d)
	host.Heal()
}
