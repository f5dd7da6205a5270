package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

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
	url  func(t *testing.T) string
}{
	{"sqlite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "postrider.db") }},
	{"postgres", func(t *testing.T) string { return testkit.Postgres(t) }},
}

func onEach(t *testing.T, f func(t *testing.T, url string)) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) { f(t, db.url(t)) })
	}
}

func open(t *testing.T, url string, o store.Options) *store.Store {
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

// opener returns what opens a store on an empty database with the clock of
// the test: on PostgreSQL the same one, emptied, since making one is slow.
func opener(t *testing.T, name string) jobtest.Open {
	shared := ""
	if name == "postgres" {
		shared = testkit.Postgres(t)
	}
	return func(t *testing.T) (job.Store, jobtest.Clock) {
		clock := jobtest.NewClock()
		url := shared
		if url == "" {
			url = databases[0].url(t)
		}
		s := open(t, url, store.Options{Clock: clock.Now})
		if shared != "" {
			db, err := sql.Open("pgx", url)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec("TRUNCATE jobs, job_events, idempotency_keys, leases, streams, notifications"); err != nil {
				t.Fatal(err)
			}
		}
		return s, clock
	}
}

func TestConformance(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) { jobtest.Conformance(t, opener(t, db.name)) })
	}
}
