package app

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"github.com/postrider/postrider/internal/testkit"
)

const nextMigration = `-- +goose Up
ALTER TABLE jobs ADD COLUMN of_the_next_release TEXT NOT NULL DEFAULT '';
ALTER TABLE job_events ADD COLUMN of_the_next_release TEXT NOT NULL DEFAULT '';
CREATE TABLE of_the_next_release (id BIGINT PRIMARY KEY);
-- +goose Down
DROP TABLE of_the_next_release;
ALTER TABLE job_events DROP COLUMN of_the_next_release;
ALTER TABLE jobs DROP COLUMN of_the_next_release;
`

const allowNewer = "POSTRIDER_ALLOW_NEWER_SCHEMA=true"

// nextRelease is what the next release changes: a migration and a job type.
func nextRelease(t *testing.T) map[string]string {
	t.Helper()
	changed := func(path, old, new string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(testkit.ModuleRoot(t), path))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), old) != 1 {
			t.Fatalf("%s has not one %q: tell this test where a job type is listed", path, old)
		}
		return strings.Replace(string(text), old, new, 1)
	}
	return map[string]string{
		"internal/store/migrations/postgres/99000_next.sql": nextMigration,
		"tasks/next.go": `package tasks

import "time"

// Next is a job type of the next release.
var Next = Define[Nothing](Type{Name: "noop:next", Deadline: 15 * time.Second, MaxAttempts: 1})
`,
		"internal/work/next.go": `package work

import "github.com/postrider/postrider/tasks"

// Next carries out what only the next release knows.
func Next() Binding { return On(tasks.Next, sleep) }
`,
		"tasks/tasks.go":         changed("tasks/tasks.go", "\t\tNoopEphemeral.Type,\n", "\t\tNoopEphemeral.Type,\n\t\tNext.Type,\n"),
		"internal/work/email.go": changed("internal/work/email.go", "NoopEphemeral()}", "NoopEphemeral(), Next()}"),
	}
}

// traffic posts jobs to one api at a time until it is ended.
type traffic struct {
	api  atomic.Pointer[string]
	stop chan struct{}
	wait sync.WaitGroup

	mu  sync.Mutex
	ids []string
}

// startTraffic posts a mail and a job every so often. An answer other than 202
// fails the test.
func startTraffic(t *testing.T, api string, every time.Duration) *traffic {
	tr := &traffic{stop: make(chan struct{})}
	tr.api.Store(&api)
	tr.wait.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tr.stop:
				return
			case <-tick.C:
			}
			to := *tr.api.Load()
			tr.note(post(t, to, "/jobs/send-email", email(fmt.Sprintf("user%d@example.com", n), "Welcome!")).ID)
			tr.note(post(t, to, "/jobs", fmt.Sprintf(`{"type":"noop","payload":{"sleep_ms":%d},"delay":%d}`, n%5*100, n%7*300)).ID)
		}
	})
	return tr
}

func (tr *traffic) note(id string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.ids = append(tr.ids, id)
}

// to sends what comes next to another api.
func (tr *traffic) to(api string) { tr.api.Store(&api) }

// end returns the ids of all that was posted.
func (tr *traffic) end() []string {
	close(tr.stop)
	tr.wait.Wait()
	return tr.ids
}

// TestRollingUpgrade runs programs of two releases side by side, the newer of
// which has another migration and another job type: from the old to the new
// and back, under a stream of jobs. No job is lost, none fails, none runs again.
//
// To build another release takes long: without POSTRIDER_TEST_ALL=1 the newer
// programs are the old ones on the newer schema, and there is no new job type.
func TestRollingUpgrade(t *testing.T) {
	var newer map[string]string
	if os.Getenv("POSTRIDER_TEST_ALL") != "" {
		paths := testkit.BuildChanged(t, nextRelease(t), module+"api", module+"worker", module+"scheduler")
		newer = map[string]string{"api": paths[0], "worker": paths[1], "scheduler": paths[2]}
	}
	f, oldWorkers := startFleet(t)
	oldAPI, oldScheduler := f.services["api"][0], f.services["scheduler"][0]
	tr := startTraffic(t, f.api, 100*time.Millisecond)

	// Forward: first the api, which migrates.
	next := f.release(newer)
	if newer == nil {
		next.migrateByHand()
	}
	api := next.start("api")
	tr.to(api.Addr)
	var strangers []string
	if newer != nil {
		for range 8 {
			strangers = append(strangers, post(t, api.Addr, "/jobs", `{"type":"noop:next","payload":{}}`).ID)
		}
		f.waitFor("an old worker to put a job of the new type back", `SELECT count(*) > 0 FROM job_events e JOIN jobs j ON j.id = e.job_id
			WHERE j.type = 'noop:next' AND e.kind = 'settled' AND e.state = 'waiting' AND j.attempts = 0`)
	}
	worker, scheduler := next.start("worker"), next.start("scheduler")
	f.end(oldAPI, oldScheduler, oldWorkers[0])
	for _, id := range strangers {
		testkit.WaitFor(t, 2*time.Minute, "a job of the new type to be done", func() bool { return stateOf(t, api.Addr, id) == "done" })
	}

	// Back: an old program refuses the newer schema until it is told better.
	refused := testkit.NewService(t, f.environ, f.paths["worker"])
	refused.Start()
	testkit.WaitFor(t, patienceInTests, "an old program to refuse the schema", func() bool { _, ended := refused.Exited(); return ended })
	if code, _ := refused.Exited(); code != 1 || !strings.Contains(refused.Output(), "POSTRIDER_ALLOW_NEWER_SCHEMA") {
		t.Errorf("an old program on a newer schema ended with %d:\n%s", code, refused.Output())
	}
	f.environ = append(f.environ, allowNewer)
	again := f.start("api")
	tr.to(again.Addr)
	f.start("scheduler")
	f.start("worker")
	f.end(worker, scheduler, api, oldWorkers[1])
	f.api = again.Addr

	ids := tr.end()
	if states, _ := f.settled(ids); states["done"] != len(ids) {
		t.Errorf("%d jobs ended %v", len(ids), states)
	}
	for id, times := range f.mails() {
		if times != 1 {
			t.Errorf("mail %s arrived %d times", id, times)
		}
	}
	for what, query := range map[string]string{
		"jobs ran again after their outcome": `SELECT count(DISTINCT s.job_id) FROM job_events s JOIN job_events f USING (job_id)
			WHERE s.kind = 'started' AND f.state = 'done' AND f.seq < s.seq`,
		"jobs failed":          `SELECT count(*) FROM jobs WHERE state = 'failed'`,
		"migrations ran twice": `SELECT count(*) - count(DISTINCT version_id) FROM goose_db_version`,
		"migrations missing":   `SELECT 1 - count(*) FROM goose_db_version WHERE version_id = 99000 AND is_applied`,
	} {
		var n int
		if err := f.db(t).QueryRow(query).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d %s, %v", n, what, err)
		}
	}
	t.Logf("%d jobs", len(ids)+len(strangers))
}

// release is the same fleet with programs of another release, if there are any.
func (f *fleet) release(paths map[string]string) *fleet {
	other := *f
	if paths != nil {
		other.paths = paths
	}
	return &other
}

// migrateByHand does what the next release's migration does, and has what is
// started from now on take it.
func (f *fleet) migrateByHand() {
	f.t.Helper()
	up, _, _ := strings.Cut(nextMigration, "-- +goose Down")
	if _, err := f.db(f.t).Exec(up + `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99000, TRUE)`); err != nil {
		f.t.Fatal(err)
	}
	f.environ = append(f.environ[:len(f.environ):len(f.environ)], allowNewer)
}

// end ends processes one after another, as a deployment does.
func (f *fleet) end(all ...*testkit.Service) {
	f.t.Helper()
	for _, s := range all {
		if code, ended := s.Exited(); ended {
			f.t.Errorf("a process had ended by itself with %d:\n%s", code, s.Output())
			continue
		}
		if code := s.Stop(time.Minute); code != 0 {
			f.t.Errorf("a process ended with %d:\n%s", code, s.Output())
		}
	}
}

// db is the fleet's database, past its programs.
func (f *fleet) db(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", f.database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (f *fleet) waitFor(what, query string) {
	f.t.Helper()
	db := f.db(f.t)
	testkit.WaitFor(f.t, time.Minute, what, func() bool {
		var is bool
		return db.QueryRow(query).Scan(&is) == nil && is
	})
}
