// Package auth tells who sends a request, and what they may do.
//
// Callers are known by API keys, set by POSTRIDER_API_KEYS or made at run time
// (package apikey). Without any that are set the service is open: everyone is the
// principal "anonymous" with every scope, and the process that serves must then
// refuse to bind beyond loopback.
//
// The users of the application that sends are known by the JSON Web Tokens that
// it gives them, once POSTRIDER_JWT_SECRET or POSTRIDER_JWKS_URL says how to
// check those; they may read what is theirs.
//
// The people who use the dashboard are known by name and password, set by
// POSTRIDER_DASHBOARD_USERS, and then by a signed session.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Scope is a right to a group of routes.
type Scope string

// The scopes that a key may have. Admin implies all others.
const (
	JobsWrite      Scope = "jobs:write"
	JobsRead       Scope = "jobs:read"
	SchedulesWrite Scope = "schedules:write"
	Notifications  Scope = "notifications"
	Admin          Scope = "admin"
)

// AllScopes lists every scope there is.
var AllScopes = []Scope{JobsWrite, JobsRead, SchedulesWrite, Notifications, Admin}

// ErrUnauthorized is returned for a request without a valid key; HTTP answers
// it with 401.
var ErrUnauthorized = errors.New("a valid API key is needed")

// Principal is who a request comes from.
type Principal struct {
	// Name is the key's name, or "user:" and a user's id: the owner of idempotency
	// keys and budgets.
	Name   string
	Scopes []Scope
	// User is who the token is of, where the request came with one. Such a
	// principal has no scope: it may do what is for users, with what is its own.
	User *Identity
}

// May reports whether the principal has the scope; the zero Principal has none.
func (p Principal) May(scope Scope) bool {
	for _, s := range p.Scopes {
		if s == scope || s == Admin {
			return true
		}
	}
	return false
}

// anonymous is everyone while there are no keys.
var anonymous = Principal{Name: "anonymous", Scopes: AllScopes}

// Finder knows keys that are not set but were made at run time. Principal
// returns whom the key of that secret belongs to, or ErrUnauthorized; any other
// error says that nobody can tell now.
type Finder interface {
	Principal(ctx context.Context, secret string) (Principal, error)
}

// Keys authenticates requests. It is safe for concurrent use.
type Keys struct {
	keys []Key
	made Finder // nil for none
}

// NewKeys returns the authenticator for the configured keys; without any it is
// open.
func NewKeys(cfg Config) *Keys { return &Keys{keys: cfg.APIKeys} }

// Also has requests come with the keys of f too. It is called before any comes. An
// open API stays open: whether it is one only the settings say.
func (k *Keys) Also(f Finder) { k.made = f }

// Set returns the keys of the settings.
func (k *Keys) Set() []Key { return slices.Clone(k.keys) }

// Has reports whether the settings have a key of that name.
func (k *Keys) Has(name string) bool {
	return slices.ContainsFunc(k.keys, func(one Key) bool { return one.Name == name })
}

// Open reports whether there are no keys, so that everyone may do everything.
func (k *Keys) Open() bool { return len(k.keys) == 0 }

// Authenticate returns whom the request's key belongs to, or ErrUnauthorized, or
// the error of a Finder.
// The key comes as `Authorization: Bearer KEY` (RFC 6750, section 2.1) or as
// `X-API-Key: KEY`; with both, both must be the same.
func (k *Keys) Authenticate(r *http.Request) (Principal, error) {
	if k.Open() {
		return anonymous, nil
	}
	secret, ok := presented(r)
	if !ok {
		return Principal{}, ErrUnauthorized
	}
	return k.Principal(r.Context(), secret)
}

// Principal returns whom the key of that secret belongs to, or ErrUnauthorized, or
// the error of a Finder.
func (k *Keys) Principal(ctx context.Context, secret string) (Principal, error) {
	if k.Open() {
		return anonymous, nil
	}
	// Hashes have one length, and every key is compared, so the time taken tells
	// nothing of a secret or of which key it is.
	hash := sha256.Sum256([]byte(secret))
	found := -1
	for i := range k.keys {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], k.keys[i].hash[:]), i, found)
	}
	switch {
	case found < 0 && k.made != nil:
		return k.made.Principal(ctx, secret)
	case found < 0:
		return Principal{}, ErrUnauthorized
	}
	return Principal{Name: k.keys[found].Name, Scopes: k.keys[found].Scopes}, nil
}

// presented returns the one secret that the request brings.
func presented(r *http.Request) (string, bool) {
	headers, keys := r.Header.Values("Authorization"), r.Header.Values("X-API-Key")
	if len(headers) > 1 || len(keys) > 1 {
		return "", false // which of them counts is not for us to guess
	}
	secret := ""
	if len(headers) == 1 {
		// The scheme's letter case does not matter (RFC 9110, section 11.1).
		scheme, token, _ := strings.Cut(headers[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", false
		}
		secret = strings.TrimSpace(token)
	}
	if len(keys) == 1 {
		if secret != "" && secret != keys[0] {
			return "", false
		}
		secret = keys[0]
	}
	return secret, secret != ""
}

type contextKey struct{}

// With returns a context that carries the principal.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// From returns the context's principal; without one, the zero Principal, which
// may do nothing, and false.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(contextKey{}).(Principal)
	return p, ok
}
