// Package apikey makes API keys at run time, beside those that
// POSTRIDER_API_KEYS sets: it creates them, revokes them, and finds whose a
// secret is.
package apikey

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// MaxKeys is how many keys there may be.
const MaxKeys = 1000

// Prefix begins every secret, so that one that leaked can be searched for:
// pr_[A-Za-z0-9_-]{48}.
const Prefix = "pr_"

const (
	chanceBytes = 32 // of a secret: nobody guesses 256 bits
	checkBytes  = 4  // tell a secret of ours from what only looks like one
	// hintLength is how much of a secret people may see, to know it again: 5
	// characters are 30 of its 256 bits.
	hintLength = len(Prefix) + 5
)

// Key is an API key as it is kept. Times are the database's.
type Key struct {
	Name       string // unique among all keys; quotas, limits and idempotency keys are by it
	Scopes     []auth.Scope
	Hint       string // how the secret begins
	CreatedAt  time.Time
	CreatedBy  string
	ExpiresAt  time.Time // zero for never
	LastUsedAt time.Time // to the minute; zero before the first time

	// Expired says that ExpiresAt has come, by the database's clock.
	Expired bool
}

// Principal is whom requests with the key come from.
func (k Key) Principal() auth.Principal { return auth.Principal{Name: k.Name, Scopes: k.Scopes} }

// May is what the key may do, in a line: those of its scopes that there are.
func (k Key) May() string {
	var may []string
	for _, s := range k.Scopes {
		if slices.Contains(auth.AllScopes, s) {
			may = append(may, string(s))
		}
	}
	return strings.Join(may, " ")
}

// Hash is what is kept of a secret. A fast hash is right here, where it would be
// wrong for a password: nobody can try 2^256 secrets, however fast, and each
// request has to be looked up by it.
type Hash [sha256.Size]byte

// Store keeps the keys. Errors carry codes as job.Store's do, and each call may
// be repeated after an answer that was lost.
type Store interface {
	// CreateKey writes a key; CodeConflict where its name is taken by another
	// secret's, or where there are most.
	CreateKey(ctx context.Context, k Key, hash Hash, most int) (Key, error)
	// RevokeKey deletes a key; CodeNotFound where there is none.
	RevokeKey(ctx context.Context, name string) error
	// Keys lists them by name, MaxKeys at most.
	Keys(ctx context.Context) ([]Key, error)
	// FindKey returns the key of a secret; CodeNotFound where there is none.
	FindKey(ctx context.Context, hash Hash) (Key, error)
	// TouchKey notes that a key was used, unless that was noted less than a minute
	// ago.
	TouchKey(ctx context.Context, name string) error
}

// newSecret makes a secret: chance, and four bytes of its hash.
func newSecret() (string, error) {
	raw := make([]byte, chanceBytes, chanceBytes+checkBytes)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("making a secret: %w", err)
	}
	sum := sha256.Sum256(raw)
	return Prefix + base64.RawURLEncoding.EncodeToString(append(raw, sum[:checkBytes]...)), nil
}

// isSecret reports whether newSecret may have made s, so that what anybody sends
// is not looked up in the database.
func isSecret(s string) bool {
	text, ours := strings.CutPrefix(s, Prefix)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if !ours || err != nil || len(raw) != chanceBytes+checkBytes {
		return false
	}
	sum := sha256.Sum256(raw[:chanceBytes])
	return string(raw[chanceBytes:]) == string(sum[:checkBytes])
}

// check says all that is wrong with a key that somebody with these scopes asks
// for, at the time now.
func (k *Key) check(who auth.Principal, now time.Time) error {
	var bad tasks.Invalid
	if !auth.ValidName(k.Name) {
		bad.Add("name", "must be 1 to 64 letters, digits, dots, underscores or hyphens, beginning with a letter or digit")
	}
	if len(k.Scopes) == 0 {
		bad.Add("scopes", "must not be empty")
	}
	for _, s := range k.Scopes {
		switch {
		case !slices.Contains(auth.AllScopes, s):
			bad.Add("scopes", fmt.Sprintf("must be of %v", auth.AllScopes))
		case !who.May(s):
			bad.Add("scopes", fmt.Sprintf("must not hold %s, which you have not yourself", s))
		}
	}
	if !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(now) {
		bad.Add("expires_at", "must be in the future")
	}
	if !k.ExpiresAt.IsZero() && k.ExpiresAt.Year() > 9999 { // what RFC 3339 cannot write
		bad.Add("expires_at", "must be before the year 10000")
	}
	if err := bad.OrNil(); err != nil {
		return job.Invalid(err)
	}
	slices.Sort(k.Scopes)
	k.Scopes = slices.Compact(k.Scopes)
	return nil
}
