package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/testkit"
)

const jwtSecret = "a secret of just thirty-two byte"

// withTokens takes users' tokens.
func withTokens(t testing.TB) func(*Options) {
	tokens := auth.NewTokens(auth.TokenOptions{Config: auth.Config{JWTSecret: jwtSecret, JWTUserClaim: "sub"}, Log: testkit.Logger(t)})
	return func(o *Options) { o.Tokens = tokens }
}

// tokenOf makes a user's token.
func tokenOf(t testing.TB, user string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(jwtSecret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}
	for name, v := range claims {
		all[name] = v
	}
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A user's token opens nothing that is for API keys, whether there are keys or
// not, and neither its text nor its user is logged.
func TestTokensAreNoKeys(t *testing.T) {
	for name, s := range map[string]*service{"closed": serve(t, withKeys(t), withTokens(t)), "open": serve(t, withTokens(t))} {
		good := tokenOf(t, "ann@example.com", nil)
		for _, route := range []struct{ method, path, body string }{
			{http.MethodPost, "/jobs", `{"type":"noop"}`}, {http.MethodGet, "/jobs", ""}, {http.MethodPost, "/jobs/send-notification", `{"everyone":true,"message":"m"}`},
		} {
			s.call(route.method, route.path, route.body, "Authorization", "Bearer "+good).want(http.StatusForbidden)
			a := s.call(route.method, route.path, route.body, "Authorization", "Bearer "+tokenOf(t, "ann@example.com", map[string]any{"exp": 1})).want(http.StatusUnauthorized)
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") || strings.Contains(a.text, "expired") {
				t.Errorf("%s: %v %s", name, a.header, a.text)
			}
		}
		if log := s.log.String(); strings.Contains(log, good) || strings.Contains(log, "ann@") {
			t.Errorf("%s: the log tells too much: %s", name, log)
		}
	}
}
