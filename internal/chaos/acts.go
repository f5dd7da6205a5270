package chaos

import (
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// Act is a part of the story: faults that come one after another and at once.
// It ends when what it broke runs again and what had to recover has.
type Act struct {
	Name string
	do   func(*harness)
}

const (
	// suspension outlives a run's lease (30 s).
	suspension = 34 * time.Second
	// takeover is how long the work of a killed scheduler may lie idle until
	// another takes it over. What is promised about Redis is promised of a
	// fleet with a scheduler, so no outage of it ends within this time.
	takeover = 26 * time.Second
	// everysec is what a Redis with "appendfsync everysec" may lose.
	everysec = time.Second
)

// Short is the form that runs with all other tests: the faults that matter
// most, on top of each other.
func Short() []Act {
	return []Act{
		{"Redis is flushed, and cut from power while an api dies", func(h *harness) {
			h.mailTroubles()
			h.pause(h.between(time.Second, 3*time.Second))
			h.await(h.flush())
			h.await(h.cutRedisPower(func() { h.kill(h.fleet.apis) }))
		}},
		{"a worker is killed and one suspended, meanwhile PostgreSQL dies and connections are lost", func(h *harness) {
			h.mailTroubles()
			frozen := h.suspend()
			lost := h.killWorker()
			h.outageOfPostgres(h.pg.Kill, h.between(time.Second, 2*time.Second))
			h.cutLinks()
			h.halfOpenRedis()
			h.await(lost)
			h.wake(frozen)
			h.kill(h.fleet.schedulers)
			h.restartSoftly(h.any(h.fleet.workers))
		}},
	}
}

// Long is every fault, alone and with others.
func Long() []Act {
	return []Act{
		{"the mail server has its troubles", func(h *harness) {
			h.mailTroubles()
			h.mailStops(h.between(time.Second, 3*time.Second))
			h.mailSays(testkit.SMTPAtMail, testkit.SMTPReply(451, "4.3.0 not now"), 2*time.Second)
			h.mailSays(testkit.SMTPAtConnect, testkit.SMTPReplyAndClose(421, "4.3.2 closing down"), 2*time.Second)
			h.mailSays(testkit.SMTPAtDot, testkit.SMTPClose(), time.Second)
			h.mailTroubles()
		}},
		{"a worker, a scheduler and an api are killed", func(h *harness) {
			lost := h.killWorker()
			h.pause(h.between(0, time.Second))
			h.kill(h.fleet.schedulers)
			h.pause(h.between(0, time.Second))
			h.kill(h.fleet.apis)
			h.mailTroubles()
			h.await(lost)
		}},
		{"Redis loses its tail", func(h *harness) {
			h.await(h.cutRedisPower(func() { h.kill(h.fleet.apis) }))
		}},
		{"Redis is flushed, twice", func(h *harness) {
			h.await(h.flush())
			h.pause(h.between(0, time.Second))
			h.await(h.flush())
		}},
		{"Redis hangs", func(h *harness) {
			h.awaitScheduler()
			h.fault("Redis is suspended")
			h.plan.Engine.Single.Pause()
			h.pause(h.between(2*time.Second, 5*time.Second))
			h.plan.Engine.Single.Resume()
			h.await(h.redisReturned())
		}},
		{"PostgreSQL is killed, restarted, and drops its sessions", func(h *harness) {
			h.outageOfPostgres(h.pg.Kill, h.between(time.Second, 3*time.Second))
			h.pause(2 * time.Second)
			h.outageOfPostgres(h.pg.Stop, h.between(time.Second, 3*time.Second))
			h.pause(2 * time.Second)
			h.fault("PostgreSQL ends all sessions")
			h.pg.DropConnections(h.database)
			h.pause(2 * time.Second)
		}},
		{"connections are cut, slow, half open, and lose answers", func(h *harness) {
			h.cutLinks()
			h.pause(2 * time.Second)
			h.slowLinks(h.between(50*time.Millisecond, 200*time.Millisecond), 4*time.Second)
			h.halfOpenRedis()
			h.pause(4 * time.Second)
			h.halfOpenPostgres()
			h.pause(4 * time.Second)
			h.loseAnswers(time.Second)
			h.pause(2 * time.Second)
		}},
		{"a worker is suspended past its leases", func(h *harness) {
			frozen := h.suspend()
			h.mailTroubles()
			h.pause(h.between(2*time.Second, 8*time.Second))
			h.kill(h.fleet.apis)
			h.cutLinks()
			h.wake(frozen)
		}},
		{"every process is restarted softly, one after another", func(h *harness) {
			for _, p := range h.fleet.all() {
				h.restartSoftly(p)
			}
		}},
		{"everything at once", func(h *harness) {
			h.awaitScheduler()
			h.mailTroubles()
			lost := h.killWorker()
			tail := h.plan.Engine.Single.MarkTail()
			h.pause(h.between(everysec/2, everysec))
			h.fault("the power of Redis is cut: %d bytes lost", h.plan.Engine.Single.CutPower(tail))
			h.kill(h.fleet.schedulers)
			h.mailStops(time.Second)
			h.outageOfPostgres(h.pg.Kill, h.between(time.Second, 3*time.Second))
			h.kill(h.fleet.apis)
			h.plan.Engine.Single.Restart()
			h.tell("Redis serves again")
			h.cutLinks()
			h.await(lost)
		}},
	}
}

// Failover is for a Redis under Sentinels.
func Failover() []Act {
	return []Act{
		{"the master dies", func(h *harness) {
			h.pause(3 * time.Second)
			h.fault("the master is killed")
			old := h.plan.Engine.Sentinel.KillMaster()
			m := h.redisReturned()
			h.kill(h.fleet.apis)
			h.await(m)
			old.Restart()
			h.pause(3 * time.Second)
		}},
		{"an operator changes the master, a worker dies", func(h *harness) {
			lost := h.killWorker()
			h.fault("the master is changed")
			h.plan.Engine.Sentinel.Failover()
			h.await(h.redisReturned())
			h.await(lost)
		}},
	}
}

// Shards is for a Redis Cluster.
func Shards() []Act {
	return []Act{
		{"a master dies and comes back empty, a worker dies", func(h *harness) {
			h.pause(3 * time.Second)
			cluster := h.plan.Engine.Cluster
			for range 2 {
				n := h.rand.IntN(len(cluster.Masters))
				h.fault("master %d of the cluster is killed", n+1)
				cluster.Masters[n].Kill()
				h.pause(h.between(time.Second, 3*time.Second))
				cluster.Masters[n].Restart()
				cluster.AwaitOK()
				h.await(h.redisReturned())
			}
			h.await(h.killWorker())
		}},
	}
}
