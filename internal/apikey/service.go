package apikey

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// Service is what is done with keys.
type Service struct {
	store Store
	set   *auth.Keys
	log   *slog.Logger
	found *ring
}

// New makes a Service over the store, beside the keys that are set.
func New(store Store, set *auth.Keys, log *slog.Logger) *Service {
	return &Service{store: store, set: set, log: log.With("component", "keys"), found: newRing()}
}

// errOpen refuses to make keys that would protect nothing.
var errOpen = job.Errorf(job.CodeConflict, "the API is open to everything on this machine, and a key would not change that: set POSTRIDER_API_KEYS to one key of the scope admin first")

// Create makes a key for who, who must have all its scopes, and returns it with
// its secret, which nobody can ask for again. Name, Scopes and ExpiresAt of k
// count. A name that is taken, also by a key that is set, is a CodeConflict, and
// so is an open API: a first key neither closes it, which would lock out who
// calls without one, nor seems to.
func (s *Service) Create(ctx context.Context, k Key, who auth.Principal) (made Key, secret string, err error) {
	if s.set.Open() {
		return Key{}, "", errOpen
	}
	if err := k.check(who, time.Now()); err != nil {
		return Key{}, "", err
	}
	if s.set.Has(k.Name) {
		return Key{}, "", job.Errorf(job.CodeConflict, "POSTRIDER_API_KEYS has a key %q already", k.Name)
	}
	if secret, err = newSecret(); err != nil {
		return Key{}, "", err
	}
	k.CreatedBy, k.Hint = who.Name, secret[:hintLength]
	if made, err = s.store.CreateKey(ctx, k, sha256.Sum256([]byte(secret)), MaxKeys); err != nil {
		return Key{}, "", err
	}
	s.log.Info("an API key was created", "key", made.Name, "scopes", made.Scopes, "by", who.Name)
	return made, secret, nil
}

// Revoke ends a key: this process refuses it at once, the others within Fresh.
// One that is set is a CodeConflict.
func (s *Service) Revoke(ctx context.Context, name, actor string) error {
	if s.set.Has(name) {
		return job.Errorf(job.CodeConflict, "the key %q is set by POSTRIDER_API_KEYS, and goes with it", name)
	}
	if !auth.ValidName(name) {
		return job.Errorf(job.CodeNotFound, "there is no such key")
	}
	if err := s.store.RevokeKey(ctx, name); err != nil {
		return err
	}
	s.found.forget()
	s.log.Info("an API key was revoked", "key", name, "by", actor)
	return nil
}

// Check errs where a key that was made has the name of one that is set: nobody
// could tell their jobs, quotas and idempotency keys apart. It warns of keys that
// protect nothing since the API is open. It returns the keys that were made.
func (s *Service) Check(ctx context.Context) ([]Key, error) {
	made, err := s.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("comparing the API keys: %w", err)
	}
	for _, k := range made {
		if s.set.Has(k.Name) {
			return nil, fmt.Errorf("POSTRIDER_API_KEYS sets the key %s, and a key of that name was made over the API: rename the one that is set, or revoke the other before", k.Name)
		}
	}
	if len(made) > 0 && s.set.Open() {
		s.log.Warn("there are API keys that were made at run time, and they protect nothing while POSTRIDER_API_KEYS is not set", "keys", len(made))
	}
	return made, nil
}

// List returns the keys that were made, by name.
func (s *Service) List(ctx context.Context) ([]Key, error) { return s.store.Keys(ctx) }

// Principal returns whom the key of that secret belongs to; auth.ErrUnauthorized
// where there is none, or it has expired. Another error, CodeTemporary, is of a
// database that does not answer: then nobody can tell. It implements
// auth.Finder.
func (s *Service) Principal(ctx context.Context, secret string) (auth.Principal, error) {
	if !isSecret(secret) {
		return auth.Principal{}, auth.ErrUnauthorized
	}
	hash := Hash(sha256.Sum256([]byte(secret)))
	k, err := s.found.get(ctx, hash, s.look)
	if job.CodeOf(err) == job.CodeNotFound || err == nil && k.Expired {
		return auth.Principal{}, auth.ErrUnauthorized
	}
	return k.Principal(), err
}

// touchEvery is how often a key's use is noted at most.
const touchEvery = time.Minute

// look asks the database about a secret, and notes now and then that its key is
// in use.
func (s *Service) look(ctx context.Context, hash Hash) (Key, error) {
	k, err := s.store.FindKey(ctx, hash)
	// Whether it is a minute ago the store decides, by its own clock.
	if err == nil && !k.Expired && time.Since(k.LastUsedAt) >= touchEvery {
		if err := s.store.TouchKey(ctx, k.Name); err != nil {
			s.log.Debug("a key's use was not noted", "key", k.Name, "err", err)
		}
	}
	return k, err
}
