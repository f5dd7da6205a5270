package auth_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/testkit"
)

// A token that is made here is one that is taken here, whatever the settings
// want of it.
func TestSignedTokenIsTaken(t *testing.T) {
	for name, cfg := range map[string]auth.Config{
		"plain":  {JWTSecret: jwtSecret, JWTUserClaim: "sub"},
		"strict": {JWTSecret: jwtSecret, JWTUserClaim: "user_id", JWTIssuer: "shop", JWTAudience: "live"},
	} {
		for _, rooms := range [][]string{nil, {"lobby", "Ünï/1"}} {
			var scopes []string
			if rooms != nil {
				scopes = []string{"notify", "broadcast"}
			}
			token, who, err := cfg.Sign(auth.Identity{ID: "ann", Rooms: rooms, Scopes: scopes}, time.Hour)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := auth.NewTokens(auth.TokenOptions{Config: cfg, Log: testkit.Logger(t)}).Verify(t.Context(), token)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got.Expires, got.Issued = got.Expires.Local(), got.Issued.Local()
			if !reflect.DeepEqual(got, who) {
				t.Errorf("%s: it is taken for %+v, want %+v", name, got, who)
			}
			if got.TokenID == "" || got.Expires.Sub(got.Issued) != time.Hour {
				t.Errorf("%s: it cannot be revoked, or has another life: %+v", name, got)
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	cfg := auth.Config{JWTSecret: jwtSecret, JWTUserClaim: "sub"}
	long := strings.Repeat("x", 128)
	if _, _, err := cfg.Sign(auth.Identity{ID: "ann", Scopes: []string{"notify broadcast"}}, time.Hour); err == nil {
		t.Error("one scope became two")
	}
	for name, c := range map[string]struct {
		cfg   auth.Config
		user  string
		rooms []string
		life  time.Duration
	}{
		"no secret":     {auth.Config{JWTUserClaim: "sub"}, "ann", nil, time.Hour},
		"no user":       {cfg, "", nil, time.Hour},
		"long user":     {cfg, long + "x", nil, time.Hour},
		"control":       {cfg, "an\n", nil, time.Hour},
		"not UTF-8":     {cfg, "an\xff", nil, time.Hour},
		"empty room":    {cfg, "ann", []string{""}, time.Hour},
		"many rooms":    {cfg, "ann", make([]string, 501), time.Hour},
		"much of rooms": {cfg, "ann", strings.Split(strings.Repeat(long+",", 99)+long, ","), time.Hour},
		"no time":       {cfg, "ann", nil, 0},
		"for ever":      {cfg, "ann", nil, auth.MaxTokenLife + time.Second},
	} {
		if token, _, err := c.cfg.Sign(auth.Identity{ID: c.user, Rooms: c.rooms}, c.life); err == nil || token != "" {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
}
