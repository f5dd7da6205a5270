package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Inspection is what a look from outside tells of a database.
type Inspection struct {
	Now        time.Time   // by its clock; zero for a SQLite file that is not there yet
	Migrations []Migration // that this program knows, in their order
	// Newest is the database's version; above Known when a newer program
	// migrated it.
	Newest int64
}

// Migration is one step of the schema.
type Migration struct {
	Version   int64     `json:"version"`
	Name      string    `json:"name"`
	AppliedAt time.Time `json:"applied_at,omitzero"` // zero while it is not
}

// Pending is how many migrations are still to be applied.
func (i Inspection) Pending() int {
	n := 0
	for _, m := range i.Migrations {
		if m.AppliedAt.IsZero() {
			n++
		}
	}
	return n
}

// Known is the newest version that this program knows.
func (i Inspection) Known() int64 { return i.Migrations[len(i.Migrations)-1].Version }

// Inspect looks at the database without changing or locking anything, so also
// while a process runs on it.
func Inspect(ctx context.Context, c Config) (_ Inspection, err error) {
	if c.URL == "" {
		return Inspection{}, errors.New("DATABASE_URL is not set")
	}
	if err := c.Validate(); err != nil {
		return Inspection{}, err
	}
	s := &Store{log: slog.New(slog.DiscardHandler), metrics: newMetrics(), opts: Options{RepeatFor: connectWait}}
	defer func() {
		for _, end := range s.close {
			err = errors.Join(err, end())
		}
	}()
	var out Inspection
	folder := "migrations/postgres"
	if c.SQLite() {
		folder = "migrations/sqlite"
	}
	if out.Migrations, err = known(folder); err != nil {
		return out, err
	}
	if c.SQLite() {
		path := strings.TrimPrefix(c.URL, "sqlite:")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return out, nil
		}
		db, err := sql.Open("sqlite", sqliteDSN(path)+"&_pragma=query_only(1)")
		if err != nil {
			return out, fmt.Errorf("opening the database: %w", err)
		}
		s.read, s.close = db, append(s.close, db.Close)
	} else if err := s.openPostgres(ctx, c.URL); err != nil {
		return out, err
	}
	if out.Now, err = s.Now(ctx); err != nil {
		return out, err
	}
	applied, err := s.applied(ctx)
	for i, m := range out.Migrations {
		out.Migrations[i].AppliedAt = applied[m.Version]
	}
	for version := range applied {
		out.Newest = max(out.Newest, version)
	}
	return out, err
}

// known lists the migrations of a folder: 00001_ground.sql.
func known(folder string) ([]Migration, error) {
	entries, err := migrations.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	var out []Migration
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading migrations: %s has no number", e.Name())
		}
		out = append(out, Migration{Version: version, Name: strings.TrimSuffix(filepath.Base(e.Name()), ".sql")})
	}
	return out, nil
}

// applied reads goose's table, which is not there before the first migration.
func (s *Store) applied(ctx context.Context) (map[int64]time.Time, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT version_id, tstamp FROM goose_db_version WHERE is_applied AND version_id > 0 ORDER BY id")
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P01" || err != nil && strings.Contains(err.Error(), "no such table") {
		return nil, nil
	}
	if err != nil {
		return nil, coded("reading the schema's version", err)
	}
	defer rows.Close()
	out := map[int64]time.Time{}
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, coded("reading the schema's version", err)
		}
		out[version] = at
	}
	return out, coded("reading the schema's version", rows.Err())
}
