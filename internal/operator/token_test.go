package operator

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/testkit"
)

func TestNewToken(t *testing.T) {
	const secret = "a secret of thirty-two bytes, or more"
	environ := []string{"POSTRIDER_JWT_SECRET=" + secret}
	token := strings.TrimSpace(mustRun(t, environ, "", "new-token", "-user", "ann", "-room", "lobby", "-room", "a,b", "-for", "30m"))
	tokens := auth.NewTokens(auth.TokenOptions{Config: auth.Config{JWTSecret: secret, JWTUserClaim: "sub"}, Log: testkit.Logger(t)})
	who, err := tokens.Verify(t.Context(), token)
	if err != nil || who.ID != "ann" || strings.Join(who.Rooms, " ") != "lobby a,b" || who.Expires.Sub(who.Issued).Minutes() != 30 {
		t.Errorf("it is taken for %+v, %v", who, err)
	}
	for name, c := range map[string]struct {
		environ []string
		args    []string
	}{
		"no secret": {nil, []string{"--user", "ann"}},
		"key set":   {[]string{"POSTRIDER_JWKS_URL=https://example.com/keys"}, []string{"--user", "ann"}},
		"no user":   {environ, nil},
		"for ever":  {environ, []string{"--user", "ann", "--for", "10000h"}},
	} {
		if r := run(t, c.environ, "", append([]string{"new-token"}, c.args...)...); r.code != exitUsage || r.out != "" {
			t.Errorf("%s: exit code %d, %s", name, r.code, r.out)
		}
	}
}
