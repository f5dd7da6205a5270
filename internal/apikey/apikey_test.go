package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// counted counts the questions that reach the database.
type counted struct {
	apikey.Store
	asked atomic.Int64
	away  atomic.Bool
}

func (c *counted) FindKey(ctx context.Context, hash apikey.Hash) (apikey.Key, error) {
	c.asked.Add(1)
	if c.away.Load() {
		return apikey.Key{}, job.Errorf(job.CodeTemporary, "the database is away")
	}
	return c.Store.FindKey(ctx, hash)
}

// rig is the keys of a process, over a database that others may have too.
type rig struct {
	*apikey.Service
	t     *testing.T
	keys  *auth.Keys
	store *counted
	clock *jobtest.ManualClock
}

// boss may do everything.
var boss = auth.Principal{Name: "boss", Scopes: []auth.Scope{auth.Admin}}

func newRig(t *testing.T) *rig {
	t.Helper()
	clock := jobtest.NewClock()
	clock.Set(time.Now().Truncate(time.Millisecond).UTC())
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "keys.db"), AutoMigrate: true}, testkit.Logger(t), store.Options{Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r := &rig{t: t, store: &counted{Store: s.APIKeys()}, clock: clock}
	return r.another("boss:boss-secret-000000:admin")
}

// another is one more process with the settings.
func (r *rig) another(settings string) *rig {
	r.t.Helper()
	var set auth.APIKeys
	if settings != "" {
		if err := set.UnmarshalText([]byte(settings)); err != nil {
			r.t.Fatal(err)
		}
	}
	one := *r
	one.keys = auth.NewKeys(auth.Config{APIKeys: set})
	one.Service = apikey.New(r.store, one.keys, testkit.Logger(r.t))
	one.keys.Also(one.Service)
	return &one
}

func (r *rig) create(name string, with ...func(*apikey.Key)) string {
	r.t.Helper()
	k := apikey.Key{Name: name, Scopes: []auth.Scope{auth.JobsWrite}}
	for _, f := range with {
		f(&k)
	}
	_, secret, err := r.Create(r.t.Context(), k, boss)
	if err != nil {
		r.t.Fatal(err)
	}
	return secret
}

// wantIn is whether the secret is a key's.
func (r *rig) wantIn(secret string, in bool) {
	r.t.Helper()
	_, err := r.keys.Principal(r.t.Context(), secret)
	if in != (err == nil) || !in && !errors.Is(err, auth.ErrUnauthorized) {
		r.t.Errorf("it is let in: %v, want %v", err, in)
	}
}

func wantCode(t *testing.T, err error, want job.Code, words string) {
	t.Helper()
	if job.CodeOf(err) != want || err != nil && !strings.Contains(err.Error(), words) {
		t.Errorf("the error is %v, want %s with %q", err, want, words)
	}
}

func TestLife(t *testing.T) {
	r := newRig(t)
	secret := r.create("shop", func(k *apikey.Key) { k.Scopes = []auth.Scope{auth.JobsWrite, auth.JobsRead, auth.JobsWrite} })
	if !regexp.MustCompile(`^pr_[A-Za-z0-9_-]{48}$`).MatchString(secret) {
		t.Errorf("the secret is of another form, of %d characters", len(secret))
	}
	who, err := r.keys.Principal(t.Context(), secret)
	if err != nil || who.Name != "shop" || !who.May(auth.JobsRead) || who.May(auth.SchedulesWrite) {
		t.Errorf("it is of %+v: %v", who, err)
	}
	r.wantIn("boss-secret-000000", true) // those that are set are let in as before
	for _, other := range []string{"", "pr_", secret[:50], secret + "A", "pr_" + strings.Repeat("A", 48), "x" + secret, strings.ToUpper(secret)} {
		r.wantIn(other, false)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("listed are %+v: %v", all, err)
	}
	k := all[0]
	if k.Name != "shop" || k.CreatedBy != "boss" || fmt.Sprint(k.Scopes) != "[jobs:read jobs:write]" || !strings.HasPrefix(secret, k.Hint) || len(k.Hint) != 8 ||
		!k.ExpiresAt.IsZero() || k.Expired || !k.CreatedAt.Equal(r.clock.Now()) || !k.LastUsedAt.Equal(r.clock.Now()) {
		t.Errorf("it is %+v", k)
	}
	if err := r.Revoke(t.Context(), "shop", "boss"); err != nil {
		t.Fatal(err)
	}
	r.wantIn(secret, false)
	wantCode(t, r.Revoke(t.Context(), "shop", "boss"), job.CodeNotFound, "no key")
	if again := r.create("shop"); again == secret { // the name is free again
		t.Error("two secrets are the same")
	}
	r.wantIn(secret, false)
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	r.create("shop")
	writer := auth.Principal{Name: "writer", Scopes: []auth.Scope{auth.JobsWrite}}
	for _, c := range []struct {
		key   apikey.Key
		who   auth.Principal
		code  job.Code
		words string
	}{
		{apikey.Key{Name: "shop", Scopes: []auth.Scope{auth.JobsRead}}, boss, job.CodeConflict, "already"},
		{apikey.Key{Name: "boss", Scopes: []auth.Scope{auth.JobsRead}}, boss, job.CodeConflict, "POSTRIDER_API_KEYS"},
		{apikey.Key{Name: "a:b", Scopes: []auth.Scope{auth.JobsRead}}, boss, job.CodeInvalid, "name must"},
		{apikey.Key{Name: "", Scopes: []auth.Scope{auth.JobsRead}}, boss, job.CodeInvalid, "name must"},
		{apikey.Key{Name: "x"}, boss, job.CodeInvalid, "scopes must not be empty"},
		{apikey.Key{Name: "x", Scopes: []auth.Scope{"root"}}, boss, job.CodeInvalid, "scopes must be of"},
		{apikey.Key{Name: "x", Scopes: []auth.Scope{auth.JobsRead}, ExpiresAt: time.Now().Add(-time.Minute)}, boss, job.CodeInvalid, "expires_at must be in the future"},
		{apikey.Key{Name: "x", Scopes: []auth.Scope{auth.JobsRead}, ExpiresAt: time.Now().AddDate(9000, 0, 0)}, boss, job.CodeInvalid, "year 10000"},
		// Nobody gives what they have not.
		{apikey.Key{Name: "x", Scopes: []auth.Scope{auth.JobsWrite, auth.Admin}}, writer, job.CodeInvalid, "which you have not yourself"},
		{apikey.Key{Name: "x", Scopes: []auth.Scope{auth.JobsRead}}, auth.Principal{}, job.CodeInvalid, "which you have not yourself"},
	} {
		_, secret, err := r.Create(t.Context(), c.key, c.who)
		wantCode(t, err, c.code, c.words)
		if secret != "" {
			t.Errorf("%+v: there is a secret", c.key)
		}
	}
	wantCode(t, r.Revoke(t.Context(), "boss", "boss"), job.CodeConflict, "goes with it")
	wantCode(t, r.Revoke(t.Context(), "\x00", "boss"), job.CodeNotFound, "no such key")
	if all, err := r.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("listed are %+v: %v", all, err)
	}
}

// An API that is open stays so, and makes no keys that would protect nothing; a
// name is nobody's twice.
func TestOpenAndNames(t *testing.T) {
	r := newRig(t)
	secret := r.create("shop")
	open := r.another("")
	_, _, err := open.Create(t.Context(), apikey.Key{Name: "first", Scopes: []auth.Scope{auth.Admin}}, boss)
	wantCode(t, err, job.CodeConflict, "set POSTRIDER_API_KEYS")
	for _, any := range []string{secret, "", "nonsense"} {
		if who, err := open.keys.Principal(t.Context(), any); err != nil || who.Name != "anonymous" {
			t.Errorf("with the key %q it is %+v: %v", any, who, err)
		}
	}
	if made, err := open.Check(t.Context()); err != nil || len(made) != 1 {
		t.Errorf("an open API is told %v, %v", made, err)
	}
	if _, err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.another("shop:another-secret-00:jobs:read").Check(t.Context()); err == nil || !strings.Contains(err.Error(), "sets the key shop") {
		t.Errorf("a name that there is twice: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	r := newRig(t)
	end := r.clock.Now().Add(time.Hour)
	secret := r.create("short", func(k *apikey.Key) { k.ExpiresAt = end })
	r.wantIn(secret, true)
	r.clock.Set(end)
	r.another("boss:boss-secret-000000:admin").wantIn(secret, false) // which has not asked before
	if all, err := r.List(t.Context()); err != nil || !all[0].Expired || !all[0].ExpiresAt.Equal(end) {
		t.Errorf("it is %+v: %v", all, err)
	}
}

// Revoked by one process, a key is refused by it at once and by the others within
// a second.
func TestRevokedEverywhere(t *testing.T) {
	r := newRig(t)
	other := r.another("boss:boss-secret-000000:admin")
	secret := r.create("shop")
	r.wantIn(secret, true)
	other.wantIn(secret, true)
	if err := r.Revoke(t.Context(), "shop", "boss"); err != nil {
		t.Fatal(err)
	}
	r.wantIn(secret, false)
	revoked := time.Now()
	testkit.WaitFor(t, patience, "the other process refuses it", func() bool {
		began := time.Now()
		_, err := other.keys.Principal(t.Context(), secret)
		if late := began.Sub(revoked); err == nil && late > apikey.Fresh {
			t.Fatalf("%v after it was revoked it is let in", late)
		}
		return err != nil
	})
}

// A busy key asks the database once a second, however many requests bring it, and
// its use is noted once a minute.
func TestAskedOnce(t *testing.T) {
	r := newRig(t)
	secret := r.create("shop")
	began := time.Now()
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			for range 100 {
				r.wantIn(secret, true)
			}
		})
	}
	callers.Wait()
	if asked, most := r.store.asked.Load(), int64(time.Since(began)/apikey.Fresh)+1; asked > most {
		t.Errorf("the database was asked %d times, want %d", asked, most)
	}
	r.wantIn("pr_"+strings.Repeat("A", 48), false)
	r.wantIn("boss-secret-000000", true)
	before := r.store.asked.Load()
	r.wantIn("nobody's", false)
	if r.store.asked.Load() != before {
		t.Error("the database was asked about what is no secret of ours")
	}
	used := func() time.Time {
		all, err := r.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all[0].LastUsedAt
	}
	first := used()
	r.clock.Advance(59 * time.Second)
	if _, err := r.another("").Service.Principal(t.Context(), secret); err != nil {
		t.Error(err)
	}
	if !used().Equal(first) {
		t.Error("its use was noted twice in a minute")
	}
}

// While the database does not answer nobody can tell: that is not a refusal.
func TestDatabaseAway(t *testing.T) {
	r := newRig(t)
	secret := r.create("shop")
	r.store.away.Store(true)
	_, err := r.keys.Principal(t.Context(), secret)
	wantCode(t, err, job.CodeTemporary, "away")
	if errors.Is(err, auth.ErrUnauthorized) {
		t.Error("it is refused")
	}
	r.wantIn("boss-secret-000000", true)
	r.store.away.Store(false)
	r.wantIn(secret, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.another("").Service.Principal(ctx, secret); err != nil && job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("of a client that has left: %v", err)
	}
}
