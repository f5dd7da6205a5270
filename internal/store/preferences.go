package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/recipient"
)

// Recipients is the recipients' side of a Store.
type Recipients struct{ s *Store }

var _ recipient.Store = Recipients{}

// Recipients is the recipient.Store over the same database.
func (s *Store) Recipients() Recipients { return Recipients{s} }

const preferenceColumns = `preferences.id, preferences.address, preferences.settings, preferences.version, preferences.updated_at`

func scanPreferences(rows *sql.Rows) (recipient.Preferences, error) {
	var (
		p        recipient.Preferences
		settings string
		updated  int64
	)
	if err := rows.Scan(&p.ID, &p.Address, &settings, &p.Version, &updated); err != nil {
		return p, err
	}
	p.UpdatedAt = fromMS(updated)
	if err := json.Unmarshal([]byte(settings), &p.Settings); err != nil {
		return p, fmt.Errorf("reading stored preferences: %w", err)
	}
	return p, nil
}

// OfIDs implements recipient.Reader.
func (r Recipients) OfIDs(ctx context.Context, ids []string) (map[string]recipient.Preferences, error) {
	return r.find(ctx, ids, `preferences.id = v.name`, func(p *recipient.Preferences) string { return p.ID })
}

// OfAddresses implements recipient.Reader.
func (r Recipients) OfAddresses(ctx context.Context, addresses []string) (map[string]recipient.Preferences, error) {
	return r.find(ctx, addresses, `preferences.address = v.name AND preferences.address <> ''`,
		func(p *recipient.Preferences) string { return p.Address })
}

func (r Recipients) find(ctx context.Context, names []string, by string, key func(*recipient.Preferences) string) (map[string]recipient.Preferences, error) {
	t := columns("name text")
	for _, name := range names {
		t.add(clean(name))
	}
	out := make(map[string]recipient.Preferences, len(names))
	for _, part := range r.s.chunks(t) {
		err := r.s.askOf(ctx, "finding preferences", part, `SELECT `+preferenceColumns+` FROM {v} JOIN preferences ON `+by, func(rows *sql.Rows) error {
			p, err := scanPreferences(rows)
			out[key(&p)] = p
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Change implements recipient.Store.
func (r Recipients) Change(ctx context.Context, id string, decide recipient.Change) (recipient.Preferences, error) {
	var out recipient.Preferences
	err := r.s.transact(ctx, "change_preferences", func(x *tx) error {
		out = recipient.Preferences{}
		old, err := x.lockPreferences(ctx, id)
		if err != nil {
			return err
		}
		now, err := x.time(ctx)
		if err != nil {
			return err
		}
		p, err := decide(old, now)
		if err != nil {
			return err
		}
		if p == nil {
			return x.exec(ctx, nil, `DELETE FROM preferences WHERE id = ?`, id)
		}
		out = *p
		return x.savePreferences(ctx, p, old == nil)
	})
	if err != nil {
		return recipient.Preferences{}, coded("changing preferences", err)
	}
	return out, nil
}

func (x *tx) lockPreferences(ctx context.Context, id string) (found *recipient.Preferences, err error) {
	lock := ""
	if x.s.postgres {
		lock = " FOR UPDATE"
	}
	err = x.rows(ctx, nil, `SELECT `+preferenceColumns+` FROM preferences WHERE id = ?`+lock, func(rows *sql.Rows) error {
		p, err := scanPreferences(rows)
		found = &p
		return err
	}, id)
	return found, err
}

// savePreferences writes preferences: new ones, or those of a row that is
// locked. Where another transaction has taken the id or the address in between,
// this one is repeated.
func (x *tx) savePreferences(ctx context.Context, p *recipient.Preferences, fresh bool) error {
	taken := false
	err := x.rows(ctx, nil, `SELECT id FROM preferences WHERE address = ? AND address <> '' AND id <> ?`,
		func(rows *sql.Rows) error { taken = true; return rows.Scan(new(string)) }, p.Address, p.ID)
	if err != nil {
		return err
	}
	if taken {
		return job.Errorf(job.CodeConflict, "the address is in another recipient's preferences")
	}
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("encoding preferences: %w", err)
	}
	t := columns("id text, address text, settings text, version bigint, updated_at bigint")
	t.add(p.ID, p.Address, string(settings), p.Version, ms(p.UpdatedAt))
	save := `
		UPDATE preferences SET address = v.address, settings = v.settings, version = v.version, updated_at = v.updated_at
		FROM {v} WHERE preferences.id = v.id RETURNING preferences.id`
	if fresh {
		save = `
		INSERT INTO preferences (id, address, settings, version, updated_at)
		SELECT v.id, v.address, v.settings, v.version, v.updated_at FROM {v} WHERE TRUE
		ON CONFLICT DO NOTHING RETURNING id`
	}
	written := false
	err = x.rows(ctx, t, save, func(rows *sql.Rows) error { written = true; return rows.Scan(new(string)) })
	var pg *pgconn.PgError
	const uniqueViolation = "23505"
	if errors.As(err, &pg) && pg.Code == uniqueViolation || err == nil && !written {
		return errVanished
	}
	return err
}
