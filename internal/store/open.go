package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postrider/postrider/internal/tlsfile"
)

const connectWait = 10 * time.Second

// postgresConns bounds the pool: calls that have a transaction of their own, and
// room for reads beside them. The committers of claims, fences and outcomes have
// one connection each beside it, see byID.
const (
	postgresConns = 13
	byIDConns     = 3
)

// byID are the settings of sessions whose statements look rows up by their ids
// and do nothing else: of those one plan is right, however many rows there are,
// and PostgreSQL need not look for it each time (a third of the time that such a
// statement took was its planning). Left to itself it would find another one
// while the table is small, and keep it when the table has grown.
var byID = map[string]string{
	"plan_cache_mode":  "force_generic_plan",
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
}

func postgresConfig(dsn string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	// A server that lost its client must not keep a transaction's locks.
	for name, value := range map[string]string{
		"application_name":                    "postrider",
		"statement_timeout":                   "15s",
		"idle_in_transaction_session_timeout": "30s",
	} {
		if _, given := c.RuntimeParams[name]; !given {
			c.RuntimeParams[name] = value
		}
	}
	return c, nil
}

// checkFiles reports a file for TLS that the URL names and that cannot be used:
// pgx would, in words that hold the whole URL.
func checkFiles(dsn string) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil // which postgresConfig tells
	}
	q := u.Query()
	files := tlsfile.Client{CA: q.Get("sslrootcert"), Cert: q.Get("sslcert"), Key: q.Get("sslkey")}
	if files.CA == "system" { // libpq's word for the system's authorities
		files.CA = ""
	}
	if q.Has("sslpassword") { // its key cannot be read without
		files.Cert, files.Key = "", ""
	}
	_, err = files.Config()
	return err
}

func (s *Store) openPostgres(ctx context.Context, dsn string) error {
	c, err := postgresConfig(dsn)
	if err != nil {
		return fmt.Errorf("reading DATABASE_URL: %w", err)
	}
	s.dialect = dialect{postgres: true}
	db := s.postgresPool(c, postgresConns)
	s.write, s.read = db, db
	looking := c.Copy()
	maps.Copy(looking.RuntimeParams, byID)
	s.byID = s.postgresPool(looking, byIDConns)
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("connecting to PostgreSQL at %s: %w", c.Host, err)
	}
	return nil
}

func (s *Store) postgresPool(c *pgx.ConnConfig, most int) *sql.DB {
	db := stdlib.OpenDB(*c)
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s.close = append(s.close, db.Close)
	return db
}

// openSQLite opens one connection that writes and a few that read. Pragmas
// stand in the DSN so that every connection has them, busy_timeout first so
// that the others wait too.
func (s *Store) openSQLite(ctx context.Context, path string) error {
	s.dialect = dialect{}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("making the folder of the database: %w", err)
	}
	lock := flock.New(path + ".lock")
	mine, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("locking the database: %w", err)
	}
	if !mine {
		return fmt.Errorf("locking the database: another postrider is running on %s", path)
	}
	s.close = append(s.close, lock.Unlock)
	if err := keepPrivate(path); err != nil {
		return err
	}
	if s.write, err = sql.Open("sqlite", sqliteDSN(path)+"&_txlock=immediate"); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	s.close = append(s.close, s.write.Close)
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", sqliteDSN(path)+"&_pragma=query_only(1)"); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	s.close = append(s.close, s.read.Close)
	s.read.SetMaxOpenConns(4)
	s.read.SetMaxIdleConns(4)
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := s.write.PingContext(ctx); err != nil {
		return fmt.Errorf("opening the database %s: %w", path, err)
	}
	return nil
}

// keepPrivate makes the database's file, if there is none, for its owner alone:
// it holds mails. SQLite would make it for all to read; the files that it puts
// beside it are as the database is.
func keepPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("making the database's file: %w", err)
	}
	return f.Close()
}

func sqliteDSN(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-20000)"
}
