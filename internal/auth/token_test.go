package auth_test

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/testkit"
)

const jwtSecret = "a secret of just thirty-two byte"

type claims = map[string]any

// sign makes a token; kid may be empty.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, c claims) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		o = o.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// byHand makes a token of any header, which the library would not sign.
func byHand(header, payload, signature string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(header)) + "." + enc([]byte(payload)) + "." + enc([]byte(signature))
}

// valid are the claims of a good token, changed.
func valid(now time.Time, changes claims) claims {
	c := claims{"sub": "42", "exp": now.Add(time.Hour).Unix()}
	for name, v := range changes {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

func secretTokens(t *testing.T, now time.Time, environ ...string) *auth.Tokens {
	t.Helper()
	var cfg auth.Config
	if _, err := config.Load(&cfg, append([]string{"POSTRIDER_JWT_SECRET=" + jwtSecret}, environ...), nil); err != nil {
		t.Fatal(err)
	}
	return auth.NewTokens(auth.TokenOptions{Config: cfg, Log: testkit.Logger(t), Now: func() time.Time { return now }})
}

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func TestTokenTellsItsUser(t *testing.T) {
	at := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	for name, c := range map[string]struct {
		claims  claims
		environ []string
		want    auth.Identity
	}{
		"least": {claims{}, nil, auth.Identity{ID: "42", Expires: noon.Add(time.Hour)}},
		"all": {
			claims{"name": "Ann", "rooms": []string{"a", "b"}, "scope": "notify broadcast", "jti": "t1", "iat": at(-time.Minute), "nbf": at(-time.Minute), "role": claims{"x": 1}},
			nil,
			auth.Identity{ID: "42", Name: "Ann", Rooms: []string{"a", "b"}, Scopes: []string{"notify", "broadcast"}, Expires: noon.Add(time.Hour), Issued: noon.Add(-time.Minute), TokenID: "t1"},
		},
		"a number, as sub": {claims{"sub": 42, "name": 7}, nil, auth.Identity{ID: "42", Expires: noon.Add(time.Hour)}},
		"a number":         {claims{"sub": nil, "uid": 9007199254740993}, []string{"POSTRIDER_JWT_USER_CLAIM=uid"}, auth.Identity{ID: "9007199254740993", Expires: noon.Add(time.Hour)}},
		"scopes by a list": {claims{"scope": []string{"notify"}}, nil, auth.Identity{ID: "42", Scopes: []string{"notify"}, Expires: noon.Add(time.Hour)}},
		"a strange scope":  {claims{"scope": 7}, nil, auth.Identity{ID: "42", Expires: noon.Add(time.Hour)}},
		"just over":        {claims{"exp": at(-29 * time.Second)}, nil, auth.Identity{ID: "42", Expires: noon.Add(-29 * time.Second)}},
		"nearly there":     {claims{"nbf": at(29 * time.Second)}, nil, auth.Identity{ID: "42", Expires: noon.Add(time.Hour)}},
		"issuer, audience": {claims{"iss": "shop", "aud": []string{"x", "postrider"}}, []string{"POSTRIDER_JWT_ISSUER=shop", "POSTRIDER_JWT_AUDIENCE=postrider"}, auth.Identity{ID: "42", Expires: noon.Add(time.Hour)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secretTokens(t, noon, c.environ...).Verify(t.Context(), sign(t, jose.HS256, []byte(jwtSecret), "", valid(noon, c.claims)))
			got.Expires = got.Expires.UTC()
			if !got.Issued.IsZero() {
				got.Issued = got.Issued.UTC()
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestTokenRefused(t *testing.T) {
	at := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	hs := func(c claims) string { return sign(t, jose.HS256, []byte(jwtSecret), "", valid(noon, c)) }
	good := hs(nil)
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"empty":               "",
		"not a token":         "abc",
		"two parts":           parts[0] + "." + parts[1],
		"four parts":          good + "." + parts[2],
		"no signature":        parts[0] + "." + parts[1] + ".",
		"alg none":            byHand(`{"alg":"none"}`, string(payload), ""),
		"alg None":            byHand(`{"alg":"None","typ":"JWT"}`, string(payload), ""),
		"no alg":              byHand(`{}`, string(payload), ""),
		"JSON serialization":  `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"another algorithm":   sign(t, jose.HS512, []byte(jwtSecret+jwtSecret), "", valid(noon, nil)),
		"a public key's":      sign(t, jose.RS256, rsaKey(), "", valid(noon, nil)),
		"another secret":      sign(t, jose.HS256, []byte(strings.ToUpper(jwtSecret)), "", valid(noon, nil)),
		"another payload":     parts[0] + "." + strings.Split(hs(claims{"sub": "43"}), ".")[1] + "." + parts[2],
		"a header's own key":  byHand(`{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, string(payload), "x"),
		"unknown crit":        byHand(`{"alg":"HS256","crit":["exp2"],"exp2":1}`, string(payload), "x"),
		"huge":                hs(claims{"pad": strings.Repeat("x", 9000)}),
		"expired":             hs(claims{"exp": at(-31 * time.Second)}),
		"never expires":       hs(claims{"exp": nil}),
		"exp null":            hs(claims{"exp": "soon"}),
		"exp beyond all time": hs(claims{"exp": 1e300}),
		"not yet":             hs(claims{"nbf": at(31 * time.Second)}),
		"of the future":       hs(claims{"iat": at(time.Minute)}),
		"no user":             hs(claims{"sub": nil}),
		"empty user":          hs(claims{"sub": ""}),
		"user of lines":       hs(claims{"sub": "a\nb"}),
		"long user":           hs(claims{"sub": strings.Repeat("x", 129)}),
		"rooms is no list":    hs(claims{"rooms": "a"}),
		"rooms of numbers":    hs(claims{"rooms": []int{1}}),
		"too many rooms":      hs(claims{"rooms": make([]string, 501)}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secretTokens(t, noon).Verify(t.Context(), token)
			if !errors.Is(err, auth.ErrToken) || got.ID != "" {
				t.Errorf("got %+v, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), jwtSecret) {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
	for name, user := range map[string]any{"fraction": 1.5, "negative": -1, "true": true, "object": claims{}, "list": []int{1}, "null": nil} {
		t.Run("user is "+name, func(t *testing.T) {
			c := valid(noon, nil)
			c["uid"] = user
			_, err := secretTokens(t, noon, "POSTRIDER_JWT_USER_CLAIM=uid").Verify(t.Context(), sign(t, jose.HS256, []byte(jwtSecret), "", c))
			if !errors.Is(err, auth.ErrToken) {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, c := range map[string]claims{"no issuer": {"aud": "postrider"}, "another issuer": {"iss": "Shop", "aud": "postrider"}, "another audience": {"iss": "shop", "aud": "x"}, "no audience": {"iss": "shop"}} {
		t.Run(name, func(t *testing.T) {
			_, err := secretTokens(t, noon, "POSTRIDER_JWT_ISSUER=shop", "POSTRIDER_JWT_AUDIENCE=postrider").Verify(t.Context(), hs(c))
			if !errors.Is(err, auth.ErrToken) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Without a secret and keys no token is taken, not even one signed with an
// empty secret.
func TestTokensOff(t *testing.T) {
	tokens := auth.NewTokens(auth.TokenOptions{Log: testkit.Logger(t)})
	mac := byHand(`{"alg":"HS256"}`, `{"sub":"42","exp":99999999999}`, "")
	if _, err := tokens.Verify(t.Context(), mac); tokens.Enabled() || !errors.Is(err, auth.ErrToken) {
		t.Errorf("enabled %t, %v", tokens.Enabled(), err)
	}
}

func TestTokenSettings(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		want    string // "" for none
	}{
		"none":         {nil, ""},
		"secret":       {[]string{"POSTRIDER_JWT_SECRET=" + jwtSecret}, ""},
		"short":        {[]string{"POSTRIDER_JWT_SECRET=" + jwtSecret[1:]}, "POSTRIDER_JWT_SECRET is shorter than 32"},
		"keys":         {[]string{"POSTRIDER_JWKS_URL=https://example.com/jwks"}, ""},
		"keys here":    {[]string{"POSTRIDER_JWKS_URL=http://[::1]:9/jwks"}, ""},
		"keys at home": {[]string{"POSTRIDER_JWKS_URL=http://localhost/jwks"}, ""},
		"both":         {[]string{"POSTRIDER_JWKS_URL=https://example.com", "POSTRIDER_JWT_SECRET=" + jwtSecret}, "both set"},
		"plain":        {[]string{"POSTRIDER_JWKS_URL=http://example.com/jwks"}, "POSTRIDER_JWKS_URL must begin with https"},
		"nearly local": {[]string{"POSTRIDER_JWKS_URL=http://localhost.example.com/jwks"}, "POSTRIDER_JWKS_URL must begin with https"},
		"a file":       {[]string{"POSTRIDER_JWKS_URL=file:///etc/passwd"}, "POSTRIDER_JWKS_URL must begin with https"},
		"with a user":  {[]string{"POSTRIDER_JWKS_URL=https://a:b@example.com"}, "POSTRIDER_JWKS_URL must begin with https"},
		"no host":      {[]string{"POSTRIDER_JWKS_URL=https:///jwks"}, "POSTRIDER_JWKS_URL must begin with https"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(&auth.Config{}, c.environ, nil)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), jwtSecret[1:]) {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
}
