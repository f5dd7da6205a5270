package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail/template"
)

var _ template.Sources = (*Store)(nil)

// KeepTemplate implements template.Sources.
func (s *Store) KeepTemplate(ctx context.Context, hash string, source []byte) error {
	return coded("keeping a template", s.transact(ctx, "keep_template", func(x *tx) error {
		return x.exec(ctx, nil, `
			INSERT INTO templates (hash, source, created_at, touched_at) VALUES (?, ?, {now}, {now})
			ON CONFLICT (hash) DO UPDATE SET touched_at = excluded.touched_at
			WHERE templates.touched_at <= excluded.touched_at - ?`,
			hash, string(source), template.RenewEvery.Milliseconds())
	}))
}

// LoadTemplate implements template.Sources.
func (s *Store) LoadTemplate(ctx context.Context, hash string) ([]byte, error) {
	var source []byte
	found := false
	err := s.ask(ctx, "reading a template", `SELECT source FROM templates WHERE hash = ?`,
		func(rows *sql.Rows) error { found = true; return rows.Scan(&source) }, hash)
	if err == nil && !found {
		err = job.Errorf(job.CodeNotFound, "the template %s is not kept", hash)
	}
	return source, err
}

// keepTemplates is how long a source is kept since a job was pinned to it: such
// a job may run as late as a job may be put off, and be run again by hand as
// long as it is kept after that.
func keepTemplates(r job.Retention) time.Duration {
	const day = 24 * time.Hour
	return job.MaxDelay + max(r.Done, r.Failed) + day
}
