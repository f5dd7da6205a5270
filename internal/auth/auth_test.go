package auth_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/config"
)

const (
	shopSecret = "shop-secret-0123456789"
	opsSecret  = "ops-secret-0123456789"
)

func load(t *testing.T, keys string) *auth.Keys {
	t.Helper()
	var cfg auth.Config
	if _, err := config.Load(&cfg, []string{"POSTRIDER_API_KEYS=" + keys}, nil); err != nil {
		t.Fatal(err)
	}
	return auth.NewKeys(cfg)
}

func TestParse(t *testing.T) {
	var cfg auth.Config
	if _, err := config.Load(&cfg, []string{
		"POSTRIDER_API_KEYS=shop:" + shopSecret + ":jobs:write+jobs:read,\nops:" + opsSecret + ":admin,\n",
	}, nil); err != nil {
		t.Fatal(err)
	}
	var got []auth.Principal
	for _, k := range cfg.APIKeys {
		got = append(got, auth.Principal{Name: k.Name, Scopes: k.Scopes})
	}
	want := []auth.Principal{
		{Name: "shop", Scopes: []auth.Scope{auth.JobsWrite, auth.JobsRead}},
		{Name: "ops", Scopes: []auth.Scope{auth.Admin}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParseErrorsNameTheEntryAndNoSecret(t *testing.T) {
	good := "shop:" + shopSecret + ":admin"
	for name, test := range map[string]struct{ keys, want string }{
		"no scopes":          {good + ",ops:" + opsSecret, "entry 2: want name:secret:scope"},
		"only a secret":      {opsSecret, "entry 1: want name:secret:scope"},
		"secret first":       {opsSecret + "=:ops:admin", "entry 1: the name must be"},
		"no name":            {":" + opsSecret + ":admin", "entry 1: the name must be"},
		"short secret":       {"ops:ops-secret:admin", "entry 1 (ops): the secret is shorter than 16"},
		"unknown scope":      {"ops:" + opsSecret + ":jobs", "entry 1 (ops): its scopes must be of jobs:write"},
		"empty scope":        {"ops:" + opsSecret + ":", "entry 1 (ops): its scopes"},
		"colon in a secret":  {"ops:0123456789abcdef:ops-secret:admin", "a secret must not hold a colon"},
		"same name":          {good + ",shop:" + opsSecret + ":admin", "entry 2 (shop): an entry before it has the same name"},
		"same secret":        {good + ",ops:" + shopSecret + ":admin", "entry 2 (ops): has the same secret as shop"},
		"nothing but commas": {" , ", "holds no key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(&auth.Config{}, []string{"POSTRIDER_API_KEYS=" + test.keys}, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "POSTRIDER_API_KEYS: ") {
				t.Fatalf("got %v, want POSTRIDER_API_KEYS: … %s", err, test.want)
			}
			for _, secret := range []string{"ops-secret", "shop-secret"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q holds a secret", err)
				}
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	keys := load(t, "shop:"+shopSecret+":jobs:write,ops:"+opsSecret+":admin")
	if keys.Open() {
		t.Error("keys are set, and yet it is open")
	}
	for name, test := range map[string]struct {
		header http.Header
		want   string // "" for unauthorized
	}{
		"bearer":             {http.Header{"Authorization": {"Bearer " + shopSecret}}, "shop"},
		"scheme's case":      {http.Header{"Authorization": {"bearer " + opsSecret}}, "ops"},
		"header of our own":  {http.Header{"X-Api-Key": {opsSecret}}, "ops"},
		"both, the same":     {http.Header{"Authorization": {"Bearer " + shopSecret}, "X-Api-Key": {shopSecret}}, "shop"},
		"both, not the same": {http.Header{"Authorization": {"Bearer " + shopSecret}, "X-Api-Key": {opsSecret}}, ""},
		"none":               {http.Header{}, ""},
		"empty":              {http.Header{"Authorization": {"Bearer "}, "X-Api-Key": {""}}, ""},
		"wrong":              {http.Header{"X-Api-Key": {shopSecret + "x"}}, ""},
		"part of one":        {http.Header{"X-Api-Key": {shopSecret[:20]}}, ""},
		"basic":              {http.Header{"Authorization": {"Basic " + shopSecret}}, ""},
		"twice":              {http.Header{"X-Api-Key": {shopSecret, shopSecret}}, ""},
		"bare":               {http.Header{"Authorization": {shopSecret}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/jobs", nil)
			r.Header = test.header
			got, err := keys.Authenticate(r)
			if got.Name != test.want || errors.Is(err, auth.ErrUnauthorized) != (test.want == "") {
				t.Errorf("got %q, %v; want %q", got.Name, err, test.want)
			}
			if err != nil && got.May(auth.JobsRead) {
				t.Error("an unauthorized principal has rights")
			}
		})
	}
}

func TestOpen(t *testing.T) {
	keys := auth.NewKeys(auth.Config{})
	got, err := keys.Authenticate(httptest.NewRequest("GET", "/jobs", nil))
	if !keys.Open() || err != nil || got.Name != "anonymous" || !got.May(auth.Admin) || !got.May(auth.JobsWrite) {
		t.Errorf("open %t, got %+v, %v", keys.Open(), got, err)
	}
}

func TestMay(t *testing.T) {
	sender := auth.Principal{Scopes: []auth.Scope{auth.JobsWrite, auth.Notifications}}
	admin := auth.Principal{Scopes: []auth.Scope{auth.Admin}}
	for _, scope := range auth.AllScopes {
		if want := scope == auth.JobsWrite || scope == auth.Notifications; sender.May(scope) != want {
			t.Errorf("sender may %s: %t, want %t", scope, !want, want)
		}
		if !admin.May(scope) {
			t.Errorf("admin may not %s", scope)
		}
		if (auth.Principal{}).May(scope) {
			t.Errorf("nobody may %s", scope)
		}
	}
}

func TestContext(t *testing.T) {
	if p, ok := auth.From(t.Context()); ok || p.May(auth.JobsRead) {
		t.Errorf("a context without principal holds %+v", p)
	}
	want := auth.Principal{Name: "shop"}
	if got, ok := auth.From(auth.With(t.Context(), want)); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %t", got, ok)
	}
}
