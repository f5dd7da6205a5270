// Package chaos kills everything and counts. It runs the real programs on a
// real Redis, PostgreSQL and SMTP server, posts a steady stream of jobs, breaks
// one part after another and several at once, waits until all is settled, and
// tells from records that are not Postrider's own what became of each job. It
// is for tests and `make chaos` only.
//
// Read it in this order: acts.go says what is broken and when, stream.go what
// is asked for meanwhile, audit.go what is counted at the end, report.go what
// may have come of it.
package chaos

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"github.com/postrider/postrider/internal/testkit"
)

// Plan is one run of the harness.
type Plan struct {
	Name     string // of the column in the table: "single Redis"
	Programs Programs
	Engine   Engine
	// Hosts is where the parts are; nil has all of them on this machine, each
	// process with a proxy before Redis and PostgreSQL.
	Hosts *Hosts
	// Seed decides which process is hit and when; a run prints it.
	Seed uint64
	// Acts are carried out in their order.
	Acts []Act
	// Rate is how many jobs are posted in a second.
	Rate int
	// Settle bounds the wait for the last job's outcome.
	Settle time.Duration
}

// Programs are the paths of the built programs.
type Programs struct{ API, Worker, Scheduler string }

// Build builds the programs.
func Build(t testing.TB) Programs {
	const commands = "github.com/postrider/postrider/cmd/"
	return Programs{
		API:       testkit.Build(t, commands+"api"),
		Worker:    testkit.Build(t, commands+"worker"),
		Scheduler: testkit.Build(t, commands+"scheduler"),
	}
}

// harness is a run under way. Its methods are called from the test's own
// goroutine.
type harness struct {
	t         testing.TB
	plan      Plan
	rand      *rand.Rand
	began     time.Time
	database  string
	db        *sql.DB // straight to PostgreSQL, past the proxies
	mail      *mailServer
	pg        *testkit.PostgresCluster
	fleet     *fleet
	stream    *stream
	table     timetable
	marks     []*mark
	faults    int
	described int
	stopped   []interval // while a worker was suspended
	dismissed []int      // pids of workers that were told to end for good
	// leaderless is until when it may last that another scheduler takes over
	// from one that was killed.
	leaderless time.Time
}

// Run carries the plan out and returns what was counted. What must not happen
// at all (a program that crashes, an answer that makes no sense) fails the test
// at once.
func Run(t testing.TB, plan Plan) Report {
	t.Helper()
	t.Logf("%s: seed %d", plan.Name, plan.Seed)
	h := &harness{
		t: t, plan: plan, rand: rand.New(rand.NewPCG(plan.Seed, 0)),
		pg:   plan.Hosts.startPostgres(t),
		mail: newMailServer(t, plan.Hosts.mailIP()),
	}
	h.database = h.pg.Database()
	h.openDatabase(h.database)
	h.fleet = startFleet(t, plan, h.database, h.mail.url())
	h.began = time.Now()
	h.table = newTimetable(t, h.fleet.apis[0].Addr, h.db)
	h.stream = startStream(t, h.fleet.addrs(), plan.Rate)
	defer h.stream.end(0)

	for _, act := range plan.Acts {
		h.tell("— %s", act.Name)
		act.do(h)
	}
	h.recover()
	h.stream.end(streamGrace)
	h.table.cutoff = time.Now()
	unsettled := h.settle()
	return h.audit(unsettled)
}

// streamGrace is how long the last requests may wait for their answer.
const streamGrace = 20 * time.Second

func (h *harness) openDatabase(address string) {
	h.t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { db.Close() })
	h.db = db
}

// tell prints a line of the run's story.
func (h *harness) tell(format string, args ...any) {
	h.t.Logf("%6.1fs  %s", time.Since(h.began).Seconds(), fmt.Sprintf(format, args...))
}

// fault tells of something that is broken now.
func (h *harness) fault(format string, args ...any) {
	h.faults++
	h.tell(format, args...)
}

// pause lets the time pass, and started anew what has ended.
func (h *harness) pause(d time.Duration) {
	h.t.Helper()
	deadline := time.Now().Add(d)
	h.until(func() bool { return !time.Now().Before(deadline) })
}

// until waits for the condition, and starts anew what has ended meanwhile.
func (h *harness) until(met func() bool) {
	h.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		h.fleet.supervise()
		<-tick.C
	}
}

// between draws a duration.
func (h *harness) between(least, most time.Duration) time.Duration {
	return least + time.Duration(h.rand.Int64N(int64(most-least)+1))
}

// through puts the proxy's address in the place of the URL's.
func through(t testing.TB, address string, proxy *testkit.FaultProxy) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("reading the address of a server: %v", err)
	}
	u.Host = proxy.Addr
	return u.String()
}
