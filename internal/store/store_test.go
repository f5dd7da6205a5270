package store_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// databases are what every test of the store runs on.
var databases = []struct {
	name string
	url  func(t testing.TB) string
}{
	{"sqlite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "postrider.db") }},
	{"postgres", func(t testing.TB) string { return testkit.Postgres(t) }},
}

func onEach(t *testing.T, f func(t *testing.T, url string)) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) { f(t, db.url(t)) })
	}
}

func open(t testing.TB, url string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{URL: url, AutoMigrate: true}, testkit.Logger(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// opener returns what opens a store with the clock of the test on an empty
// database: always the same one, emptied, since making one is slow.
func opener(url string) jobtest.Open {
	return func(t *testing.T) (job.Store, jobtest.Clock) {
		clock := jobtest.NewClock()
		s := open(t, url, store.Options{Clock: clock.Now, RepeatFor: slowRepeatFor})
		db := raw(t, url)
		for _, table := range []string{"jobs", "job_events", "idempotency_keys", "leases", "streams", "notifications"} {
			if _, err := db.Exec("DELETE FROM " + table); err != nil {
				t.Fatal(err)
			}
		}
		return s, clock
	}
}

// slowRepeatFor is for tests of large batches: the race detector slows SQLite,
// which is Go here, some forty times.
const slowRepeatFor = time.Minute

// raw opens a database beside the store until the test ends.
func raw(t testing.TB, url string) *sql.DB {
	t.Helper()
	driver, source := "pgx", url
	if path, lite := strings.CutPrefix(url, "sqlite:"); lite {
		driver, source = "sqlite", "file:"+path
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestConformance(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		t.Parallel()
		jobtest.Conformance(t, opener(url))
	})
}

// TestProperty drives the store through random histories beside its model:
// fewer on SQLite, which the race detector slows.
func TestProperty(t *testing.T) {
	histories := map[string]int{"sqlite": 5, "postgres": 15}
	for _, db := range databases {
		n := histories[db.name]
		if os.Getenv("POSTRIDER_TEST_ALL") != "" {
			n = 200
		}
		t.Run(db.name, func(t *testing.T) { jobtest.Property(t, opener(db.url(t)), n) })
	}
}
