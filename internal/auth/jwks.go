package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/postrider/postrider/internal/rounds"
)

// How a key set is kept up to date.
const (
	keysEvery   = 10 * time.Minute // a key that was taken back is refused after at most this
	keysPause   = 30 * time.Second // between two askings for a key that is unknown
	keysWait    = 5 * time.Second  // that a token with an unknown key waits for them
	maxKeys     = 100              // in a set
	minRSABits  = 2048             // RFC 7518 section 3.3
	useToEncode = "enc"            // a key that is not for signatures
)

// keySet is a JWK Set (RFC 7517 section 5) that is fetched again and again, and
// at once, with a pause, when a token names a key that is not in it. While its
// source is away the last one serves.
type keySet struct {
	url    string
	fetch  func(ctx context.Context, url string) ([]byte, error)
	now    func() time.Time
	rounds *rounds.Rounds
	nudge  chan struct{}

	mu      sync.Mutex
	keys    []publicKey
	had     bool          // it was fetched once at least
	asked   time.Time     // when a fetch ended last, well or not
	failure error         // of that fetch
	ended   chan struct{} // closed when the next round has ended
}

type publicKey struct {
	id  string
	alg jose.SignatureAlgorithm
	key any
}

func newKeySet(o TokenOptions) *keySet {
	s := &keySet{
		url: o.Config.JWKSURL, fetch: o.Fetch, now: o.Now,
		nudge: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	s.rounds = &rounds.Rounds{
		Every: keysEvery, Nudged: s.nudge, Round: s.round, Log: o.Log.With("component", "auth"),
		Failing: "the keys at POSTRIDER_JWKS_URL cannot be fetched; those that are known go on serving",
		Well:    "the keys at POSTRIDER_JWKS_URL are fetched again",
	}
	return s
}

// round fetches the set, unless that was done a moment ago.
func (s *keySet) round(ctx context.Context) error {
	s.mu.Lock()
	recent := s.recent()
	s.mu.Unlock()
	var keys []publicKey
	var err error
	if !recent {
		keys, err = s.get(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !recent {
		s.asked, s.failure = s.now(), err
		if err == nil {
			s.keys, s.had = keys, true
		}
	}
	close(s.ended)
	s.ended = make(chan struct{})
	return s.failure
}

// recent tells, under the lock, that the source is not to be asked yet.
func (s *keySet) recent() bool { return !s.asked.IsZero() && s.now().Sub(s.asked) < keysPause }

func (s *keySet) get(ctx context.Context) ([]publicKey, error) {
	return getKeys(ctx, s.url, s.fetch)
}

// CountKeys has a JWK Set fetched and says how many of its keys tokens can be
// checked with; none is an error.
func CountKeys(ctx context.Context, url string, get func(context.Context, string) ([]byte, error)) (int, error) {
	keys, err := getKeys(ctx, url, get)
	return len(keys), err
}

func getKeys(ctx context.Context, url string, get func(context.Context, string) ([]byte, error)) ([]publicKey, error) {
	text, err := get(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("fetching the keys: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	return keys, nil
}

// parseKeys reads the keys that are of use here. Others are passed over, as RFC
// 7517 section 5 wants: symmetric and private ones among them, which have no
// place in a public set.
func parseKeys(text []byte) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("there are more than %d", maxKeys)
	}
	var out []publicKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.Use == useToEncode {
			continue
		}
		alg, ok := algorithmOf(k.Key)
		if !ok || k.Algorithm != "" && k.Algorithm != string(alg) {
			continue
		}
		out = append(out, publicKey{k.KeyID, alg, k.Key})
	}
	if len(out) == 0 {
		return nil, errors.New("there is none for RS256, ES256 or EdDSA")
	}
	return out, nil
}

// algorithmOf is the one algorithm that a key serves for here: the key decides,
// and not the token.
func algorithmOf(key any) (jose.SignatureAlgorithm, bool) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return jose.RS256, k.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return jose.ES256, k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return jose.EdDSA, true
	}
	return "", false
}

// find returns the key of that id for signatures of that algorithm. One that
// is not known is asked for, unless that was done a moment ago.
func (s *keySet) find(ctx context.Context, id string, alg jose.SignatureAlgorithm) (any, error) {
	s.mu.Lock()
	key, known := s.known(id, alg)
	recent, ended := s.recent(), s.ended
	s.mu.Unlock()
	if known {
		return key, nil
	}
	if !recent {
		select {
		case s.nudge <- struct{}{}:
		default: // one is on its way
		}
		patience := time.NewTimer(keysWait)
		defer patience.Stop()
		select {
		case <-ended:
		case <-patience.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a token's key: %w", ctx.Err())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, known = s.known(id, alg); known {
		return key, nil
	}
	if !s.had {
		return nil, fmt.Errorf("%w: the keys could not be fetched yet", ErrNoKeys)
	}
	return nil, refusedToken("no key of its id is for %s", alg)
}

// known looks a key up, under the lock. A token without a key's id is taken
// where only one key can be meant.
func (s *keySet) known(id string, alg jose.SignatureAlgorithm) (any, bool) {
	var found any
	n := 0
	for _, k := range s.keys {
		if k.alg == alg && (k.id == id || id == "") {
			found, n = k.key, n+1
		}
	}
	return found, n == 1
}
