package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"

	"github.com/postrider/postrider/internal/mail"
)

// keyBytes is as long as the hash (RFC 2104 section 3).
const keyBytes = sha256.Size

// loadKey reads the key of hashed, and makes it first where there is none.
func (s *Store) loadKey(ctx context.Context) error {
	fresh := make([]byte, keyBytes)
	if _, err := rand.Read(fresh); err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	var value string
	err := s.transact(ctx, "load_key", func(x *tx) error {
		read := func(rows *sql.Rows) error { return rows.Scan(&value) }
		if err := x.rows(ctx, nil, `SELECT value FROM secrets WHERE name = 'suppressions'`, read); err != nil || value != "" {
			return err
		}
		if err := x.exec(ctx, nil, `INSERT INTO secrets (name, value) VALUES ('suppressions', ?) ON CONFLICT (name) DO NOTHING`, hex.EncodeToString(fresh)); err != nil {
			return err
		}
		return x.rows(ctx, nil, `SELECT value FROM secrets WHERE name = 'suppressions'`, read)
	})
	if err != nil {
		return coded("reading the key of hashed addresses", err)
	}
	if s.key, err = hex.DecodeString(value); err != nil || len(s.key) != keyBytes {
		return fmt.Errorf("reading the key of hashed addresses: it is damaged")
	}
	return nil
}

// hashed stands for the address of an erased person who is to get no mail. It has
// a key, since of a plain hash anybody could try the addresses that there are.
func (s *Store) hashed(address string) string {
	h := hmac.New(sha256.New, s.key)
	_, _ = h.Write([]byte(address)) // a hash never errs
	return mail.ErasedPrefix + hex.EncodeToString(h.Sum(nil))
}
