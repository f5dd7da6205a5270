package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Keys are made once: an RSA key takes a second under the race detector.
var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey  = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// source is where keys are fetched from.
type source struct {
	mu    sync.Mutex
	keys  []jose.JSONWebKey
	err   error
	hangs bool
	asked int
}

func (s *source) set(err error, keys ...jose.JSONWebKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.keys = err, keys
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *source) fetch(ctx context.Context, _ string) ([]byte, error) {
	s.mu.Lock()
	s.asked++
	hangs, err, keys := s.hangs, s.err, s.keys
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(jose.JSONWebKeySet{Keys: keys})
}

// remoteTokens are of a source, started; to be used in a bubble.
func remoteTokens(t *testing.T, s *source) *auth.Tokens {
	t.Helper()
	tokens := auth.NewTokens(auth.TokenOptions{
		Config: auth.Config{JWKSURL: "https://example.com/jwks", JWTUserClaim: "sub"}, Log: testkit.Logger(t), Fetch: s.fetch,
	})
	tokens.Start()
	t.Cleanup(tokens.Stop)
	return tokens
}

func public(key any, kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key, KeyID: kid, Use: "sig"}
}

func allKeys() []jose.JSONWebKey {
	return []jose.JSONWebKey{
		public(&rsaKey().PublicKey, "r"), public(&ecKey().PublicKey, "e"), public(edKey().Public(), "d"),
		{Key: []byte(jwtSecret), KeyID: "shared"}, {Key: &ecKey().PublicKey, KeyID: "secret things", Use: "enc"},
		{Key: &rsaKey().PublicKey, KeyID: "other", Algorithm: "RS512"}, {Key: ecKey(), KeyID: "private"},
	}
}

func TestRemoteKeys(t *testing.T) {
	rsaKey()
	der := x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)
	synctest.Test(t, func(t *testing.T) {
		s := &source{keys: allKeys()}
		tokens := remoteTokens(t, s)
		ok := valid(time.Now(), nil)
		for name, c := range map[string]struct {
			token string
			ok    bool
		}{
			"RS256":              {sign(t, jose.RS256, rsaKey(), "r", ok), true},
			"ES256":              {sign(t, jose.ES256, ecKey(), "e", ok), true},
			"EdDSA":              {sign(t, jose.EdDSA, edKey(), "d", ok), true},
			"no id, one fits":    {sign(t, jose.EdDSA, edKey(), "", ok), true},
			"PS256":              {sign(t, jose.PS256, rsaKey(), "r", ok), false},
			"RS512":              {sign(t, jose.RS512, rsaKey(), "r", ok), false},
			"another key's id":   {sign(t, jose.ES256, ecKey(), "r", ok), false},
			"unknown id":         {sign(t, jose.ES256, ecKey(), "x", ok), false},
			"for encryption":     {sign(t, jose.ES256, ecKey(), "secret things", ok), false},
			"for an alg alone":   {sign(t, jose.RS256, rsaKey(), "other", ok), false},
			"private":            {sign(t, jose.ES256, ecKey(), "private", ok), false},
			"shared secret":      {sign(t, jose.HS256, []byte(jwtSecret), "shared", ok), false},
			"public as secret":   {sign(t, jose.HS256, der, "r", ok), false},
			"public PEM":         {sign(t, jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der}), "r", ok), false},
			"modulus as secret":  {sign(t, jose.HS256, rsaKey().N.Bytes(), "r", ok), false},
			"none":               {byHand(`{"alg":"none","kid":"r"}`, `{"sub":"42","exp":99999999999}`, ""), false},
			"a header's own key": {byHand(`{"alg":"EdDSA","jwk":`+string(must(json.Marshal(public(edKey().Public(), "d"))))+`}`, `{"sub":"1","exp":99999999999}`, "x"), false},
		} {
			got, err := tokens.Verify(t.Context(), c.token)
			if c.ok != (err == nil && got.ID == "42") || !c.ok && !errors.Is(err, auth.ErrToken) {
				t.Errorf("%s: got %+v, %v", name, got, err)
			}
		}
	})
}

// A key that is new is fetched at once, one that does not exist no more often
// than the pause allows, and one that was taken back is refused in the end.
func TestRemoteKeysChange(t *testing.T) {
	rsaKey()
	synctest.Test(t, func(t *testing.T) {
		s := &source{keys: []jose.JSONWebKey{public(&rsaKey().PublicKey, "r")}}
		tokens := remoteTokens(t, s)
		rs, es := sign(t, jose.RS256, rsaKey(), "r", valid(time.Now(), nil)), sign(t, jose.ES256, ecKey(), "e", valid(time.Now(), nil))
		verify := func(token string, want error) {
			t.Helper()
			if _, err := tokens.Verify(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		synctest.Wait()
		verify(rs, nil)
		verify(es, auth.ErrToken) // asked a moment ago
		if n := s.count(); n != 1 {
			t.Fatalf("asked %d times, want once", n)
		}
		time.Sleep(31 * time.Second)
		s.set(nil, public(&rsaKey().PublicKey, "r"), public(&ecKey().PublicKey, "e"))
		var together sync.WaitGroup
		for range 20 {
			together.Go(func() { verify(es, nil) })
		}
		together.Wait()
		synctest.Wait()
		if n := s.count(); n != 2 {
			t.Errorf("asked %d times, want twice", n)
		}
		for range 20 { // an attacker's ids, for five minutes
			verify(sign(t, jose.ES256, ecKey(), "none", valid(time.Now(), nil)), auth.ErrToken)
			time.Sleep(15 * time.Second)
		}
		if n := s.count(); n > 2+10 {
			t.Errorf("asked %d times", n)
		}
		s.set(nil, public(&ecKey().PublicKey, "e"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		verify(rs, auth.ErrToken)
		verify(es, nil)
	})
}

// While the source is away the keys that are known serve.
func TestRemoteKeysAway(t *testing.T) {
	rsaKey()
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		s := &source{err: away}
		tokens := remoteTokens(t, s)
		synctest.Wait()
		verify := func(want error) {
			t.Helper()
			if _, err := tokens.Verify(t.Context(), sign(t, jose.RS256, rsaKey(), "r", valid(time.Now(), nil))); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		verify(auth.ErrNoKeys)
		s.set(nil, public(&rsaKey().PublicKey, "r"))
		time.Sleep(31 * time.Second)
		verify(nil)
		for _, broken := range []*source{{err: away}, {keys: nil}, {keys: []jose.JSONWebKey{{Key: []byte(jwtSecret), KeyID: "r"}}}} {
			s.set(broken.err, broken.keys...)
			time.Sleep(time.Hour)
			synctest.Wait()
			verify(nil)
		}
	})
}

// A source that hangs keeps nobody beyond their patience, and nobody at all
// whose key is known.
func TestRemoteKeysHang(t *testing.T) {
	rsaKey()
	synctest.Test(t, func(t *testing.T) {
		s := &source{keys: []jose.JSONWebKey{public(&rsaKey().PublicKey, "r")}}
		tokens := remoteTokens(t, s)
		synctest.Wait()
		s.mu.Lock()
		s.hangs = true
		s.mu.Unlock()
		time.Sleep(31 * time.Second)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tokens.Verify(ctx, sign(t, jose.ES256, ecKey(), "e", valid(time.Now(), nil))); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		if _, err := tokens.Verify(t.Context(), sign(t, jose.ES256, ecKey(), "e", valid(time.Now(), nil))); !errors.Is(err, auth.ErrToken) || time.Since(began) != 6*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		if _, err := tokens.Verify(t.Context(), sign(t, jose.RS256, rsaKey(), "r", valid(time.Now(), nil))); err != nil || time.Since(began) != 6*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

// A source that answers anything at all breaks nothing.
func TestRemoteKeysStrange(t *testing.T) {
	for _, text := range []string{"", "[]", "{}", `{"keys":{}}`, `{"keys":[1,null,{},{"kty":"RSA"},{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`, "\xff"} {
		synctest.Test(t, func(t *testing.T) {
			tokens := auth.NewTokens(auth.TokenOptions{
				Config: auth.Config{JWKSURL: "https://example.com/jwks", JWTUserClaim: "sub"}, Log: testkit.Logger(t),
				Fetch: func(context.Context, string) ([]byte, error) { return []byte(text), nil },
			})
			tokens.Start()
			defer tokens.Stop()
			if _, err := tokens.Verify(t.Context(), sign(t, jose.ES256, ecKey(), "e", valid(time.Now(), nil))); !errors.Is(err, auth.ErrNoKeys) {
				t.Errorf("%q: got %v", text, err)
			}
		})
	}
}

func TestCountKeys(t *testing.T) {
	text := must(json.Marshal(jose.JSONWebKeySet{Keys: allKeys()}))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks" {
			_, _ = w.Write(text)
		}
	}))
	defer server.Close()
	if n, err := auth.CountKeys(t.Context(), server.URL+"/jwks", must(fetch.New(fetch.Config{})).Get); n != 3 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if n, err := auth.CountKeys(t.Context(), server.URL+"/none", must(fetch.New(fetch.Config{})).Get); n != 0 || err == nil {
		t.Errorf("got %d, %v", n, err)
	}
}
