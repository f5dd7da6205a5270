// Package store is the SQL side of every port, over SQLite and PostgreSQL.
//
// Both run the same statements: what differs (the clock, row locks, how a
// table of values is written) is in dialect.go. Calls that come at the same
// moment share a transaction (group.go); a transaction that fails is repeated,
// split or reported by the rules in tx.go. What a job becomes is decided by
// package job alone.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

// Config says where the truth is kept.
type Config struct {
	URL         string `env:"DATABASE_URL" secret:"true" help:"the database: postgres://user:password@host/name, or sqlite:PATH for the one-process postrider alone"`
	AutoMigrate bool   `env:"POSTRIDER_AUTO_MIGRATE" envDefault:"true" help:"bring the schema up to date at start; otherwise an old schema is refused, and postrider migrate does it"`
	AllowNewer  bool   `env:"POSTRIDER_ALLOW_NEWER_SCHEMA" envDefault:"false" help:"start although a newer release has migrated the schema: for going back by one release"`
}

// SQLite reports whether the URL names a SQLite file.
func (c Config) SQLite() bool { return strings.HasPrefix(c.URL, "sqlite:") }

// Name says which database a valid URL means, without user and password.
func (c Config) Name() string {
	if path, ok := strings.CutPrefix(c.URL, "sqlite:"); ok {
		return "the SQLite file " + path
	}
	p, err := postgresConfig(c.URL)
	if err != nil {
		return "the database"
	}
	return fmt.Sprintf("the database %s at %s", p.Database, p.Host)
}

// Validate checks the form of DATABASE_URL. An empty one is fine here, since
// a program may have a default of its own: it is Open that needs one.
func (c Config) Validate() error {
	switch {
	case c.URL == "":
	case c.SQLite():
		if path := strings.TrimPrefix(c.URL, "sqlite:"); path == "" || strings.Contains(path, ":memory:") || strings.ContainsAny(path, "?#") {
			return errors.New("DATABASE_URL: sqlite: must be followed by the path of a file")
		}
	case strings.HasPrefix(c.URL, "postgres://"), strings.HasPrefix(c.URL, "postgresql://"):
		if err := checkFiles(c.URL); err != nil {
			return fmt.Errorf("DATABASE_URL: %w", err)
		}
		if _, err := postgresConfig(c.URL); err != nil {
			return errors.New("DATABASE_URL is not a valid PostgreSQL URL") // its own words could show the password
		}
	default:
		return errors.New("DATABASE_URL must begin with postgres:// or sqlite: to name a database")
	}
	return nil
}

// Options are what tests change, but for Notified and Metrics; the zero value is for use.
type Options struct {
	// Notified is told of the notifications that a transaction has written, once
	// it is known to be committed. It must not block, nor keep or change what it is
	// given. What was committed without anybody knowing it is not told of.
	Notified func([]inbox.Notification)
	// Metrics is told how the database fares; nobody is when nil.
	Metrics prometheus.Registerer
	// Clock stands in for the database's clock.
	Clock func() time.Time
	// Fault is asked at the points "begin", "commit" (before it) and
	// "committed" (after it) of each transaction of that name; its error is
	// taken for the database's.
	Fault func(op, point string) error
	// RepeatFor bounds how long a transaction is repeated and a read or Close
	// waits for the database; 10 s when zero.
	RepeatFor time.Duration
}

// Store implements job.Store and inbox.Store.
type Store struct {
	dialect
	opts    Options
	log     *slog.Logger
	metrics *metrics
	write   *sql.DB
	read    *sql.DB
	key     []byte  // of hashed
	byID    *sql.DB // PostgreSQL's alone: for lone statements that look rows up by their ids
	close   []func() error

	accepts   *group[job.Request, job.Receipt]
	claims    *group[job.Claim, job.Claimed]
	noReturns *group[job.RunRef, struct{}]
	settles   *group[job.Settlement, job.Settled]
	posts     *group[inbox.Notification, posted]
	groups    sync.WaitGroup
	stop      chan struct{}   // closed when Close begins
	ended     chan struct{}   // closed when no committer runs any more
	life      context.Context // of the groups' transactions
	kill      context.CancelFunc
	once      sync.Once
}

var _ job.Store = (*Store)(nil)

// Open connects, brings the schema up to date where Config says so, and
// starts the committers. A SQLite file is locked for this process, and the
// leases of the process before it are ended.
func Open(ctx context.Context, c Config, log *slog.Logger, o Options) (_ *Store, err error) {
	if c.URL == "" {
		return nil, errors.New("DATABASE_URL is not set")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if o.RepeatFor == 0 {
		o.RepeatFor = 10 * time.Second
	}
	s := &Store{opts: o, log: log.With("component", "store"), metrics: newMetrics(), stop: make(chan struct{}), ended: make(chan struct{})}
	s.life, s.kill = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if c.SQLite() {
		err = s.openSQLite(ctx, strings.TrimPrefix(c.URL, "sqlite:"))
	} else {
		err = s.openPostgres(ctx, c.URL)
	}
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx, c); err != nil {
		return nil, err
	}
	if err := s.loadKey(ctx); err != nil {
		return nil, err
	}
	if c.SQLite() {
		if err := s.endLeases(ctx); err != nil {
			return nil, err
		}
	}
	if o.Metrics != nil {
		if err := s.register(o.Metrics); err != nil {
			return nil, err
		}
	}
	s.startGroups()
	return s, nil
}

func (s *Store) startGroups() {
	s.accepts = newGroup(s, "accept", s.commitAccepts)
	s.accepts.alone, s.accepts.db = s.acceptAlone, s.write
	s.accepts.key = func(r job.Request) string {
		if r.Key.Key == "" {
			return string(r.Base)
		}
		return r.Key.Owner + "\x00" + r.Key.Key
	}
	s.accepts.weight = func(r job.Request) int { return len(r.Jobs) }
	s.claims = newGroup(s, "claim", s.commitClaims)
	s.claims.alone, s.claims.db = s.grantAlone, s.byID
	s.claims.key = func(c job.Claim) string { return string(c.ID) }
	s.noReturns = newGroup(s, "no_return", s.commitNoReturns)
	s.noReturns.alone, s.noReturns.db = s.commitNoReturns, s.byID
	s.noReturns.key = func(r job.RunRef) string { return string(r.ID) }
	s.settles = newGroup(s, "settle", s.commitSettles)
	s.settles.alone, s.settles.db = s.settleAlone, s.byID
	s.settles.key = func(x job.Settlement) string { return string(x.ID) }
	s.posts = newGroup(s, "post", s.commitPosts)
	s.posts.key = func(n inbox.Notification) string { return string(n.ID) }
}

// Close ends the committers, after what they were handed or after RepeatFor,
// and the connections. Later calls fail.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.stop)
		late := time.AfterFunc(s.opts.RepeatFor, s.kill)
		s.groups.Wait()
		late.Stop()
		s.kill()
		close(s.ended)
		for i := len(s.close) - 1; i >= 0; i-- {
			err = errors.Join(err, s.close[i]())
		}
	})
	return err
}

// Ping asks the database for an answer.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.read.PingContext(ctx); err != nil {
		return fmt.Errorf("asking the database: %w", err)
	}
	return nil
}

// Accept implements job.Store.
func (s *Store) Accept(ctx context.Context, r job.Request) (job.Receipt, error) {
	return s.accepts.do(ctx, r)
}

// Claim implements job.Runner.
func (s *Store) Claim(ctx context.Context, c job.Claim) (job.Claimed, error) {
	return s.claims.do(ctx, c)
}

// PassNoReturn implements job.Runner.
func (s *Store) PassNoReturn(ctx context.Context, r job.RunRef) error {
	_, err := s.noReturns.do(ctx, r)
	return err
}

// Settle implements job.Runner.
func (s *Store) Settle(ctx context.Context, x job.Settlement) (job.Settled, error) {
	return s.settles.do(ctx, x)
}
