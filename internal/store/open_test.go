package store_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

func hostOf(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// through is the URL with another address.
func through(t *testing.T, dsn, addr string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = addr
	return u.String()
}

// Processes that start together on an empty database migrate it once.
func TestMigratorsTakeTurns(t *testing.T) {
	dsn := testkit.Postgres(t)
	each(3, func(int) {
		s, err := store.Open(context.Background(), store.Config{URL: dsn, AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	open(t, dsn, store.Options{})
}

func TestSchemaVersions(t *testing.T) {
	onEach(t, func(t *testing.T, dsn string) {
		closed := store.Config{URL: dsn}
		_, err := store.Open(t.Context(), closed, testkit.Logger(t), store.Options{})
		if job.CodeOf(err) != job.CodeConflict || !strings.Contains(err.Error(), "postrider migrate") {
			t.Errorf("an old schema: %v, want it refused with what to do", err)
		}
		s, err := store.Open(t.Context(), store.Config{URL: dsn, AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		if s, err = store.Open(t.Context(), closed, testkit.Logger(t), store.Options{}); err != nil {
			t.Fatalf("an up-to-date schema: %v", err)
		}
		_ = s.Close()

		if _, err := raw(t, dsn).Exec("DELETE FROM goose_db_version WHERE version_id = 3"); err != nil {
			t.Fatal(err)
		}
		_, err = store.Open(t.Context(), store.Config{URL: dsn, AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if job.CodeOf(err) != job.CodeConflict || !strings.Contains(err.Error(), "lacks migration 3,") {
			t.Errorf("a schema with a gap: %v, want it refused", err)
		}
		if _, err := raw(t, dsn).Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, TRUE), (99999, TRUE)"); err != nil {
			t.Fatal(err)
		}
		_, err = store.Open(t.Context(), store.Config{URL: dsn, AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if job.CodeOf(err) != job.CodeConflict || !strings.Contains(err.Error(), "99999") {
			t.Errorf("a newer schema: %v, want it refused", err)
		}
		s, err = store.Open(t.Context(), store.Config{URL: dsn, AutoMigrate: true, AllowNewer: true}, testkit.Logger(t), store.Options{})
		if err != nil {
			t.Fatalf("a newer schema that is allowed: %v", err)
		}
		_ = s.Close()
	})
}

// A SQLite file is one process's; the next one takes over the jobs that the
// one before was running.
func TestSQLiteIsLocked(t *testing.T) {
	dsn := databases[0].url(t)
	first, err := store.Open(t.Context(), store.Config{URL: dsn, AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j := running(t, first, 1)[0]
	if _, err := store.Open(t.Context(), store.Config{URL: dsn}, testkit.Logger(t), store.Options{}); err == nil || !strings.Contains(err.Error(), "another postrider") {
		t.Errorf("a second process: %v, want it refused", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Accept(t.Context(), request()); job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("accept on a closed store: %v", err)
	}
	second := open(t, dsn, store.Options{})
	dead, err := second.DeadLeases(t.Context(), 10)
	if err != nil || len(dead) != 1 || dead[0] != j.ID {
		t.Errorf("dead leases: %v, %v; want the job that was running", dead, err)
	}
}

// Mails and who gets them are not for everybody on the machine.
func TestSQLiteIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "postrider.db")
	s := open(t, "sqlite:"+path, store.Options{})
	if _, err := s.Accept(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, %v; want the database, its log and its lock", files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v; want it for its owner alone", file, info.Mode(), err)
		}
	}
}

func TestConfigName(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:data/postrider.db":                    "the SQLite file data/postrider.db",
		"postgres://ann:geheim@db:5433/postrider?x=y": "the database postrider at db",
	} {
		if got := (store.Config{URL: url}).Name(); got != want {
			t.Errorf("%s is called %q, want %q", url, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	for dsn, want := range map[string]string{
		"":                               "", // Open's to refuse
		"mysql://x":                      "begin with",
		"sqlite:":                        "path",
		"sqlite::memory:":                "path",
		"sqlite:a?mode=ro":               "path",
		"postgres://u:geheim@h:port/db":  "not a valid",
		"postgres://u:p@127.0.0.1:1/db":  "",
		"sqlite:/tmp/some where/post.db": "",
	} {
		err := store.Config{URL: dsn}.Validate()
		switch {
		case want == "" && err != nil, want != "" && err == nil:
			t.Errorf("%q: %v", dsn, err)
		case err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "DATABASE_URL") || strings.Contains(err.Error(), "geheim")):
			t.Errorf("%q: %v, want %q, the variable and no password", dsn, err, want)
		}
	}
}

func TestOpenNeedsAnURL(t *testing.T) {
	if _, err := store.Open(t.Context(), store.Config{}, testkit.Logger(t), store.Options{}); err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("got %v", err)
	}
}

// A database that is not there is an error in time, and leaves nothing open.
func TestNobodyThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := store.Open(ctx, store.Config{URL: "postgres://u:geheim@127.0.0.1:1/db"}, testkit.Logger(t), store.Options{})
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("got %v", err)
	}
}
