package chaos

import (
	"slices"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// interval is a stretch of time in which a process was suspended, or cut off
// from everything.
type interval struct {
	pid      int
	severed  bool
	from, to time.Time
}

// any draws one of the processes that run.
func (h *harness) any(group []*process) *process {
	h.t.Helper()
	var running []*process
	h.until(func() bool {
		running = running[:0]
		for _, p := range group {
			if _, ended := p.Exited(); !ended && !p.suspended {
				running = append(running, p)
			}
		}
		return len(running) > 0
	})
	return running[h.rand.IntN(len(running))]
}

// kill kills one of the processes as kill -9 does.
func (h *harness) kill(group []*process) *process {
	h.t.Helper()
	p := h.any(group)
	h.fault("kill -9 of %s", p.name)
	p.Kill()
	if group[0] == h.fleet.schedulers[0] {
		h.leaderless = time.Now().Add(takeover)
	}
	return p
}

// killWorker kills a worker that is at work, and marks that.
func (h *harness) killWorker() *mark {
	h.t.Helper()
	p := h.busyWorker()
	h.fault("kill -9 of %s", p.name)
	p.Kill()
	return h.workerLost(p, time.Now())
}

// busyWorker draws a worker, and returns when it has jobs to lose.
func (h *harness) busyWorker() *process {
	h.t.Helper()
	p := h.any(h.fleet.workers)
	h.awaitBusy(p)
	return p
}

// awaitBusy returns when the worker has jobs to lose.
func (h *harness) awaitBusy(p *process) {
	h.t.Helper()
	const several = 3
	deadline := time.Now().Add(patience)
	h.until(func() bool { return len(h.runningOn(p)) >= several || time.Now().After(deadline) })
}

// suspend stops a worker's clock, and marks that: its jobs are not suspended.
func (h *harness) suspend() *process {
	h.t.Helper()
	p := h.busyWorker()
	h.fault("%s is suspended", p.name)
	p.Suspend()
	p.suspended = true
	now := time.Now()
	h.stopped = append(h.stopped, interval{pid: p.Pid(), from: now})
	p.lost = h.workerLost(p, now)
	return p
}

// wake lets a suspended worker go on, past all its leases.
func (h *harness) wake(p *process) {
	h.t.Helper()
	h.await(p.lost)
	last := &h.stopped[len(h.stopped)-1]
	h.pause(time.Until(last.from.Add(suspension)))
	h.tell("%s goes on", p.name)
	last.to = time.Now()
	p.Resume()
	p.suspended = false
	h.pause(time.Second)
}

// restartSoftly has a process end as a deployment does, and returns when the
// next one is ready.
func (h *harness) restartSoftly(p *process) {
	h.t.Helper()
	h.fault("SIGTERM to %s", p.name)
	lives := p.lives
	p.Terminate()
	deadline := time.Now().Add(2 * time.Minute)
	h.until(func() bool { return p.lives > lives && p.Ready() || time.Now().After(deadline) })
	if p.lives == lives {
		h.t.Errorf("%s did not end within 2 minutes of its SIGTERM", p.name)
	}
}

// awaitScheduler returns when a scheduler is sure to be at work.
func (h *harness) awaitScheduler() {
	h.t.Helper()
	h.pause(time.Until(h.leaderless))
}

// flush empties Redis.
func (h *harness) flush() *mark {
	h.t.Helper()
	h.awaitScheduler()
	h.fault("FLUSHALL")
	h.plan.Engine.Single.FlushAll()
	return h.redisReturned()
}

// cutRedisPower has Redis die and lose what it wrote last; meanwhile happens
// before it is back.
func (h *harness) cutRedisPower(meanwhile func()) *mark {
	h.t.Helper()
	h.awaitScheduler()
	server := h.plan.Engine.Single
	tail := server.MarkTail()
	h.pause(h.between(everysec/2, everysec))
	h.fault("the power of Redis is cut: %d bytes lost", server.CutPower(tail))
	meanwhile()
	h.pause(h.between(time.Second, 3*time.Second))
	server.Restart()
	return h.redisReturned()
}

// outageOfPostgres stops PostgreSQL for a while.
func (h *harness) outageOfPostgres(stop func(), d time.Duration) {
	h.t.Helper()
	h.fault("PostgreSQL stops for %s", d.Round(time.Millisecond))
	stop()
	h.pause(d)
	h.pg.Start()
}

// links calls do for the proxies before Redis and PostgreSQL of each process.
func (h *harness) links(do func(*testkit.FaultProxy)) {
	for _, p := range h.fleet.all() {
		if p.redis != nil {
			do(p.redis)
		}
		if p.postgres != nil {
			do(p.postgres)
		}
	}
}

func (h *harness) cutLinks() {
	h.fault("all connections to Redis, PostgreSQL and the mail server are cut")
	h.links((*testkit.FaultProxy).Cut)
	h.mail.link.Cut()
}

func (h *harness) slowLinks(delay, d time.Duration) {
	h.t.Helper()
	h.fault("Redis and PostgreSQL are %s away for %s", delay.Round(time.Millisecond), d)
	h.links(func(p *testkit.FaultProxy) { p.Delay(delay) })
	h.pause(d)
	h.links(func(p *testkit.FaultProxy) { p.Delay(0) })
}

func (h *harness) halfOpenRedis() {
	h.fault("all connections to Redis are half open")
	for _, p := range h.fleet.all() {
		p.redis.HalfOpen()
	}
}

func (h *harness) halfOpenPostgres() {
	h.fault("all connections to PostgreSQL are half open")
	for _, p := range h.fleet.all() {
		p.postgres.HalfOpen()
	}
}

// loseAnswers has Redis and PostgreSQL carry out what they are asked, and their
// answers lost with the connection.
func (h *harness) loseAnswers(d time.Duration) {
	h.t.Helper()
	h.fault("the answers of Redis and PostgreSQL are lost for %s", d)
	h.links(func(p *testkit.FaultProxy) { p.DropReplies(true) })
	h.pause(d)
	h.links(func(p *testkit.FaultProxy) { p.DropReplies(false) })
}

// mailTroubles befall the next mails: some are hung up on in the middle of
// their content, some after the final dot with the mail taken or not, some
// never get the answer to it.
func (h *harness) mailTroubles() {
	h.fault("the mail server leaves 15 mails in trouble")
	hang := testkit.SMTPReplyAndHang(354, "go on")
	h.mail.Once(testkit.SMTPAtData, hang, hang, hang)
	h.mail.Once(testkit.SMTPAtDot,
		testkit.SMTPClose().Accepting(), testkit.SMTPClose(), testkit.SMTPReply(452, "4.2.2 full"),
		testkit.SMTPClose().Accepting(), testkit.SMTPReply(250, "2.0.0 taken"), testkit.SMTPReplyAndClose(250, "2.0.0 taken"),
		testkit.SMTPHang().Accepting(), testkit.SMTPReplyAndClose(421, "4.3.2 closing down"), testkit.SMTPHang())
	h.mail.Once(testkit.SMTPAtConnect, testkit.SMTPReplyAndClose(421, "4.3.2 closing down"), testkit.SMTPHang())
	h.mail.Once(testkit.SMTPAtRcpt, testkit.SMTPClose())
}

// mailStops refuses all connections to the mail server and cuts those there
// are.
func (h *harness) mailStops(d time.Duration) {
	h.t.Helper()
	h.fault("the mail server is away for %s", d.Round(time.Millisecond))
	h.mail.link.Refuse(true)
	h.mail.link.Cut()
	h.pause(d)
	h.mail.link.Refuse(false)
}

// mailSays has the mail server answer everybody so.
func (h *harness) mailSays(at testkit.SMTPVerb, a testkit.SMTPAction, d time.Duration) {
	h.t.Helper()
	h.fault("the mail server fails at %s for %s", at, d)
	h.mail.On(at, a)
	h.pause(d)
	h.mail.Honest()
}

// recover ends all faults.
func (h *harness) recover() {
	h.t.Helper()
	h.tell("— all faults are over")
	h.mail.Honest()
	h.until(func() bool {
		return len(h.fleet.leaving) == 0 && allReady(h.fleet.all())
	})
}

func allReady(all []*process) bool {
	return !slices.ContainsFunc(all, func(p *process) bool { return !p.Ready() })
}
