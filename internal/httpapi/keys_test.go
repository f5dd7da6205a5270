package httpapi

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// withMadeKeys lets keys be made, in a database of their own; it comes after
// withKeys.
func withMadeKeys(t testing.TB) func(*Options) {
	return func(o *Options) {
		s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "keys.db"), AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		made := apikey.New(s.APIKeys(), o.Keys, o.Log)
		o.Keys.Also(made)
		o.MadeKeys, o.Audit = made, audit.New(s.Audit(), o.Log)
	}
}

const bossKey = "boss-secret-000000"

func TestKeyLife(t *testing.T) {
	s := serve(t, withKeys(t), withMadeKeys(t))
	a := s.post("/keys", `{"name":"shop","scopes":["jobs:write","jobs:read"],"expires_at":"2100-01-01T00:00:00+02:00"}`, "X-API-Key", bossKey).want(http.StatusCreated)
	secret := a.str("secret")
	if a.header.Get("Location") != "/keys/shop" || a.str("created_by") != "boss" || a.str("expires_at") != "2099-12-31T22:00:00.000Z" || !strings.HasPrefix(secret, a.str("hint")) || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("it is created as %s", a.text)
	}
	s.post("/jobs", `{"type":"noop"}`, "Authorization", "Bearer "+secret).want(http.StatusAccepted)
	s.get("/schedules", "X-API-Key", secret+"x").want(http.StatusUnauthorized)
	s.post("/keys", `{"name":"more","scopes":["jobs:read"]}`, "X-API-Key", secret).want(http.StatusForbidden)
	s.get("/keys", "X-API-Key", "reader-secret-0000").want(http.StatusForbidden)
	list := s.get("/keys", "X-API-Key", bossKey).want(http.StatusOK)
	if strings.Contains(list.text, secret) || strings.Contains(list.text, "boss-secret") {
		t.Error("the list has a secret")
	}
	keys := list.list("keys")
	if len(keys) != 6 || keys[0]["name"] != "writer" || keys[0]["source"] != "settings" || keys[5]["name"] != "shop" || keys[5]["source"] != "made" || keys[5]["last_used_at"] == nil || keys[0]["created_at"] != nil {
		t.Errorf("the list is %s", list.text)
	}

	s.post("/keys", `{"name":"shop","scopes":["jobs:read"]}`, "X-API-Key", bossKey).want(http.StatusConflict)
	s.post("/keys", `{"name":"writer","scopes":["jobs:read"]}`, "X-API-Key", bossKey).want(http.StatusConflict)
	for body, field := range map[string]string{
		`{"name":"a b","scopes":["jobs:read"]}`:                                          "name",
		`{"name":"x","scopes":[]}`:                                                       "scopes",
		`{"name":"x","scopes":["root"]}`:                                                 "scopes",
		`{"name":"x","scopes":["jobs:read"],"expires_at":"2020-01-01T00:00:00Z"}`:        "expires_at",
		`{"name":"x","scopes":["jobs:read"],"secret":"` + strings.Repeat("x", 40) + `"}`: "secret",
	} {
		a := s.post("/keys", body, "X-API-Key", bossKey).want(http.StatusUnprocessableEntity)
		named := false
		for name := range a.fields() {
			named = named || strings.HasPrefix(name, field)
		}
		if !named {
			t.Errorf("%s: the fields are %v, want %s", body, a.fields(), field)
		}
	}
	s.call(http.MethodDelete, "/keys/shop", "", "X-API-Key", bossKey).want(http.StatusNoContent)
	s.post("/jobs", `{"type":"noop"}`, "X-API-Key", secret).want(http.StatusUnauthorized)
	s.call(http.MethodDelete, "/keys/shop", "", "X-API-Key", bossKey).want(http.StatusNotFound)
	s.call(http.MethodDelete, "/keys/writer", "", "X-API-Key", bossKey).want(http.StatusConflict)

	records := s.get("/audit?action=key.create", "X-API-Key", bossKey).want(http.StatusOK)
	if !strings.Contains(records.text, `"shop"`) || strings.Contains(records.text, secret) {
		t.Errorf("the audit has %s", records.text)
	}
}

// Quotas and idempotency keys are by the key's name, as for those that are set.
func TestMadeKeysHaveQuotas(t *testing.T) {
	s := serve(t, withKeys(t), withMadeKeys(t), func(o *Options) {
		if err := o.Rates.Quotas.UnmarshalText([]byte("shop=2/d")); err != nil {
			t.Fatal(err)
		}
	})
	secret := s.post("/keys", `{"name":"shop","scopes":["jobs:write"]}`, "X-API-Key", bossKey).want(http.StatusCreated).str("secret")
	first := s.post("/jobs", `{"type":"noop"}`, "X-API-Key", secret, "Idempotency-Key", "k").want(http.StatusAccepted)
	if j := s.stored(first.str("id")); j.AcceptedBy != "shop" {
		t.Errorf("it was accepted from %s", j.AcceptedBy)
	}
	if again := s.post("/jobs", `{"type":"noop"}`, "X-API-Key", secret, "Idempotency-Key", "k").want(http.StatusAccepted); again.str("id") != first.str("id") {
		t.Error("the repeat made another job")
	}
	s.post("/jobs", `{"type":"noop"}`, "X-API-Key", secret).want(http.StatusAccepted)
	s.post("/jobs", `{"type":"noop"}`, "X-API-Key", secret).want(http.StatusTooManyRequests)
	s.post("/jobs", `{"type":"noop"}`, "X-API-Key", "writer-secret-0000").want(http.StatusAccepted)
}

// The first key of an open API would close nothing, and is refused; what was open
// stays so.
func TestOpenAPIMakesNoKeys(t *testing.T) {
	s := serve(t, withMadeKeys(t))
	a := s.post("/keys", `{"name":"first","scopes":["admin"]}`).want(http.StatusConflict)
	if !strings.Contains(a.str("detail"), "POSTRIDER_API_KEYS") {
		t.Errorf("it is refused with %s", a.text)
	}
	s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted)
	if keys := s.get("/keys").want(http.StatusOK).list("keys"); len(keys) != 0 {
		t.Errorf("there are %v", keys)
	}
}

// A stream hears nothing more once its key is revoked.
func TestRevokedKeyEndsStream(t *testing.T) {
	s := serve(t, withKeys(t), withMadeKeys(t))
	secret := s.post("/keys", `{"name":"watcher","scopes":["jobs:write","jobs:read"]}`, "X-API-Key", bossKey).want(http.StatusCreated).str("secret")
	l := s.listen("", "X-API-Key", secret)
	id := s.post("/jobs", `{"type":"noop"}`, "X-API-Key", secret).want(http.StatusAccepted).str("id")
	l.want(id, "accepted", "waiting")
	s.call(http.MethodDelete, "/keys/watcher", "", "X-API-Key", bossKey).want(http.StatusNoContent)
	for end := time.Now().Add(20 * askAgain); time.Now().Before(end); {
		s.post("/jobs", `{"type":"noop"}`, "X-API-Key", bossKey).want(http.StatusAccepted)
		if _, ok := l.block(); !ok {
			return
		}
	}
	t.Error("the stream goes on")
}
