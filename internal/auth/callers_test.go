package auth_test

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/testkit"
)

func TestCallers(t *testing.T) {
	const dotted = "a.key.that looks like a token"
	keys := load(t, "shop:"+shopSecret+":jobs:write,odd:"+dotted+":admin")
	open, tokens, off := auth.NewKeys(auth.Config{}), secretTokens(t, noon), auth.NewTokens(auth.TokenOptions{Log: testkit.Logger(t)})
	good := sign(t, jose.HS256, []byte(jwtSecret), "", valid(noon, nil))
	bad := sign(t, jose.HS256, []byte(jwtSecret), "", valid(noon, claims{"exp": 1}))
	for name, c := range map[string]struct {
		callers auth.Callers
		bearer  string
		want    string
		err     error
	}{
		"key":                        {auth.Callers{Keys: keys, Tokens: tokens}, shopSecret, "shop", nil},
		"key with dots":              {auth.Callers{Keys: keys, Tokens: tokens}, dotted, "odd", nil},
		"token":                      {auth.Callers{Keys: keys, Tokens: tokens}, good, "user:42", nil},
		"token, without keys":        {auth.Callers{Keys: open, Tokens: tokens}, good, "user:42", nil},
		"bad token":                  {auth.Callers{Keys: keys, Tokens: tokens}, bad, "", auth.ErrToken},
		"bad token, without keys":    {auth.Callers{Keys: open, Tokens: tokens}, bad, "", auth.ErrToken},
		"mistyped key":               {auth.Callers{Keys: keys, Tokens: tokens}, shopSecret + "x", "", auth.ErrUnauthorized},
		"nothing":                    {auth.Callers{Keys: keys, Tokens: tokens}, "", "", auth.ErrUnauthorized},
		"nothing, without keys":      {auth.Callers{Keys: open, Tokens: tokens}, "", "anonymous", nil},
		"token where none are taken": {auth.Callers{Keys: keys, Tokens: off}, good, "", auth.ErrUnauthorized},
		"no keys, none are taken":    {auth.Callers{Keys: open, Tokens: off}, good, "anonymous", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			if c.bearer != "" {
				r.Header.Set("Authorization", "Bearer "+c.bearer)
			}
			got, err := c.callers.Authenticate(r)
			if got.Name != c.want || !errors.Is(err, c.err) {
				t.Fatalf("got %q, %v; want %q, %v", got.Name, err, c.want, c.err)
			}
			if user := got.User != nil; user != (c.want == "user:42") || user && (got.May(auth.Notifications) || got.User.ID != "42") {
				t.Errorf("got %+v", got)
			}
		})
	}
}
