package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"strings"

	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// APIKeys is the side of a Store that keeps API keys.
type APIKeys struct{ s *Store }

var _ apikey.Store = APIKeys{}

// APIKeys is the apikey.Store over the same database.
func (s *Store) APIKeys() APIKeys { return APIKeys{s} }

const keyColumns = `name, hash, hint, scopes, created_at, created_by, expires_at, last_used_at, expires_at IS NOT NULL AND expires_at <= {now}`

func scanKey(rows *sql.Rows) (k apikey.Key, hash string, err error) {
	var (
		scopes        string
		created       int64
		expires, used sql.NullInt64
	)
	err = rows.Scan(&k.Name, &hash, &k.Hint, &scopes, &created, &k.CreatedBy, &expires, &used, &k.Expired)
	for _, scope := range strings.Fields(scopes) {
		k.Scopes = append(k.Scopes, auth.Scope(scope))
	}
	k.CreatedAt, k.ExpiresAt, k.LastUsedAt = fromMS(created), orZero(expires), orZero(used)
	return k, hash, err
}

// CreateKey implements apikey.Store.
func (v APIKeys) CreateKey(ctx context.Context, k apikey.Key, hash apikey.Hash, most int) (out apikey.Key, err error) {
	text := hex.EncodeToString(hash[:])
	err = v.s.transact(ctx, "create_key", func(x *tx) error {
		there, before := 0, false
		err := x.rows(ctx, nil, `SELECT `+keyColumns+` FROM api_keys`, func(rows *sql.Rows) error {
			one, other, err := scanKey(rows)
			if there++; one.Name == k.Name && other == text {
				out, before = one, true // of a try before, of which nobody knew that it was committed
			}
			return err
		})
		if err != nil || before {
			return err
		}
		if there >= most {
			return job.Errorf(job.CodeConflict, "there are %d API keys, which is the most there may be", most)
		}
		scopes := make([]string, len(k.Scopes))
		for i, scope := range k.Scopes {
			scopes[i] = string(scope)
		}
		t := columns("name text, hash text, hint text, scopes text, created_by text, expires_at bigint")
		t.add(k.Name, text, k.Hint, strings.Join(scopes, " "), clean(k.CreatedBy), ms(k.ExpiresAt))
		written := false
		err = x.rows(ctx, t, `
			INSERT INTO api_keys (name, hash, hint, scopes, created_at, created_by, expires_at)
			SELECT v.name, v.hash, v.hint, v.scopes, {now}, v.created_by, v.expires_at FROM {v} WHERE TRUE
			ON CONFLICT (name) DO NOTHING RETURNING `+keyColumns, func(rows *sql.Rows) error {
			var err error
			out, _, err = scanKey(rows)
			written = true
			return err
		})
		if err == nil && !written {
			return job.Errorf(job.CodeConflict, "there is a key %q already", k.Name)
		}
		if err != nil {
			return err
		}
		return x.record(ctx, 1)
	})
	if err != nil {
		return apikey.Key{}, coded("creating an API key", err)
	}
	return out, nil
}

// RevokeKey implements apikey.Store.
func (v APIKeys) RevokeKey(ctx context.Context, name string) error {
	tried := false
	return coded("revoking an API key", v.s.transact(ctx, "revoke_key", func(x *tx) error {
		gone := 0
		err := x.rows(ctx, nil, `DELETE FROM api_keys WHERE name = ? RETURNING name`, func(rows *sql.Rows) error {
			gone++
			return rows.Scan(new(string))
		}, name)
		switch {
		case err != nil:
			return err
		case gone == 0 && tried: // and committed, though that was not heard
			return nil
		case gone == 0:
			return job.Errorf(job.CodeNotFound, "there is no key %q", name)
		}
		tried = true
		return x.record(ctx, gone)
	}))
}

// Keys implements apikey.Store.
func (v APIKeys) Keys(ctx context.Context) (out []apikey.Key, err error) {
	order := `ORDER BY name LIMIT ?`
	if v.s.postgres {
		order = `ORDER BY name COLLATE "C" LIMIT ?`
	}
	err = v.s.ask(ctx, "listing API keys", `SELECT `+keyColumns+` FROM api_keys `+order, func(rows *sql.Rows) error {
		k, _, err := scanKey(rows)
		out = append(out, k)
		return err
	}, apikey.MaxKeys)
	return out, err
}

// FindKey implements apikey.Store.
func (v APIKeys) FindKey(ctx context.Context, hash apikey.Hash) (k apikey.Key, err error) {
	met := false
	err = v.s.ask(ctx, "finding an API key", `SELECT `+keyColumns+` FROM api_keys WHERE hash = ?`, func(rows *sql.Rows) error {
		var err error
		k, _, err = scanKey(rows)
		met = true
		return err
	}, hex.EncodeToString(hash[:]))
	if err == nil && !met {
		err = job.Errorf(job.CodeNotFound, "there is no such key")
	}
	return k, err
}

// TouchKey implements apikey.Store.
func (v APIKeys) TouchKey(ctx context.Context, name string) error {
	return coded("noting an API key's use", v.s.transact(ctx, "touch_key", func(x *tx) error {
		return x.exec(ctx, nil, `UPDATE api_keys SET last_used_at = {now} WHERE name = ? AND (last_used_at IS NULL OR last_used_at <= {now} - 60000)`, name)
	}))
}
