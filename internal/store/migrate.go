package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/postrider/postrider/internal/job"
)

//go:embed migrations/*/*.sql
var migrations embed.FS

// migrate brings the schema up to date, or, where it may not, says that it is
// old. A schema newer than this program is refused unless that is allowed: it
// may mean what this program does not know. Two processes that start together take turns: by an
// advisory lock on PostgreSQL, by the lock on the file on SQLite.
func (s *Store) migrate(ctx context.Context, c Config) error {
	name, dialect := "sqlite", goose.DialectSQLite3
	opts := []goose.ProviderOption{goose.WithSlog(slog.New(slog.DiscardHandler))}
	if s.postgres {
		name, dialect = "postgres", goose.DialectPostgres
		// By the second, for as long as goose waits of itself.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 60))
		if err != nil {
			return fmt.Errorf("making the migration lock: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	files, err := fs.Sub(migrations, "migrations/"+name)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	p, err := goose.NewProvider(dialect, s.write, files, opts...)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	sources := p.ListSources()
	newest := sources[len(sources)-1].Version
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	switch {
	case have > newest && c.AllowNewer:
		s.log.Warn("a newer release has migrated the schema; going on as told", "version", have, "known", newest)
		return nil
	case have > newest:
		return job.Errorf(job.CodeConflict, "the database's schema has version %d, this program knows none above %d: it is older than the program that migrated it; to go back by one release set POSTRIDER_ALLOW_NEWER_SCHEMA=true", have, newest)
	case have == newest:
		return noGap(ctx, p)
	case !c.AutoMigrate:
		return job.Errorf(job.CodeConflict, "the database's schema has version %d, this program needs %d: run postrider migrate, or set POSTRIDER_AUTO_MIGRATE=true", have, newest)
	}
	applied, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrating the schema: %w", err)
	}
	if len(applied) > 0 {
		s.log.Info("schema migrated", "version", newest)
	}
	return nil
}

// noGap refuses a schema that lacks a migration below its version: a program made
// of other migrations, such as one between two releases, has been at it. goose
// itself looks for that only where there is something to do.
func noGap(ctx context.Context, p *goose.Provider) error {
	all, err := p.Status(ctx)
	if err != nil {
		return fmt.Errorf("reading which migrations the schema has: %w", err)
	}
	for _, m := range all {
		if m.State == goose.StatePending {
			return job.Errorf(job.CodeConflict, "the database's schema lacks migration %d, though it has later ones: it was migrated by a program that was no release; begin with a new database, or with a backup", m.Source.Version)
		}
	}
	return nil
}
