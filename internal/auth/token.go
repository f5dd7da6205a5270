package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Bounds of a token.
const (
	maxToken  = 8 << 10          // bytes
	leeway    = 30 * time.Second // by which its issuer's clock may differ from ours
	maxUserID = 128              // bytes; what a stream's name may have
	maxRooms  = 500
)

var (
	// ErrToken is returned for a token that is not valid; HTTP answers it with
	// 401. The error that wraps it says why, for a log: what is wrong with a
	// forged token is not its bearer's business.
	ErrToken = errors.New("a valid token is needed")
	// ErrNoKeys is returned while the keys to check tokens with could never be
	// fetched: HTTP answers it with 503.
	ErrNoKeys = errors.New("tokens cannot be checked now")
)

// Identity is a user of the application that sends, as a token tells.
type Identity struct {
	ID   string // 1 to 128 bytes, without control characters
	Name string // the claim "name", for people to read; may be empty
	// Rooms are those that the user may enter: the claim "rooms", a list of up
	// to 500 names.
	Rooms []string
	// Scopes are what the token allows beyond: the words of the claim "scope"
	// (RFC 8693 section 4.2), or a list of them.
	Scopes  []string
	Expires time.Time // always set
	Issued  time.Time // zero where the token does not say
	TokenID string    // the claim "jti"; may be empty
}

// Tokens checks the JSON Web Tokens (RFC 7519) of users. It is safe for
// concurrent use.
type Tokens struct {
	config Config
	secret []byte
	keys   *keySet // nil where there is a secret, or no tokens are taken
	now    func() time.Time
}

// TokenOptions are what Tokens is made of; Now is for tests, and Fetch is needed
// where Config has a JWKSURL.
type TokenOptions struct {
	Config Config // that is valid
	Log    *slog.Logger
	Fetch  func(ctx context.Context, url string) ([]byte, error) // a fetch.Client's Get
	Now    func() time.Time                                      // time.Now when nil
}

// NewTokens makes what checks tokens. Without a secret and without a key set's
// address it takes none.
func NewTokens(o TokenOptions) *Tokens {
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Tokens{config: o.Config, secret: []byte(o.Config.JWTSecret), now: o.Now}
	if o.Config.JWKSURL != "" {
		t.keys = newKeySet(o)
	}
	return t
}

// Enabled reports whether any token is taken; nil takes none.
func (t *Tokens) Enabled() bool { return t != nil && (t.keys != nil || len(t.secret) > 0) }

// Start begins to fetch the keys, if there are any to fetch, and goes on until
// Stop.
func (t *Tokens) Start() {
	if t.keys != nil {
		t.keys.rounds.Start()
	}
}

// Stop ends what Start began and waits for it.
func (t *Tokens) Stop() {
	if t.keys != nil {
		t.keys.rounds.Stop()
	}
}

// claims are those that are checked, and rooms. Those of RFC 7519 without sub:
// many an application puts a number there.
type claims struct {
	Issuer    string           `json:"iss"`
	Audience  jwt.Audience     `json:"aud"`
	Expiry    *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	ID        string           `json:"jti"`
	Rooms     []string         `json:"rooms"`
}

// Verify returns whose token it is. The error wraps ErrToken, or ErrNoKeys,
// or is ctx's own, which it may have to wait for where the token's key is one
// that has to be fetched first.
func (t *Tokens) Verify(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxToken {
		return Identity{}, refusedToken("it has more than %d bytes", maxToken)
	}
	signed, err := jwt.ParseSigned(token, t.algorithms())
	if err != nil {
		return Identity{}, refusedToken("%w", err)
	}
	header := signed.Headers[0]
	key, err := t.key(ctx, header.KeyID, jose.SignatureAlgorithm(header.Algorithm))
	if err != nil {
		return Identity{}, err
	}
	var c claims
	var all map[string]json.RawMessage
	if err := signed.Claims(key, &c, &all); err != nil {
		return Identity{}, refusedToken("%w", err)
	}
	if err := t.check(c); err != nil {
		return Identity{}, err
	}
	id, err := userID(all[t.config.JWTUserClaim])
	if err != nil {
		return Identity{}, refusedToken("its claim %s %w", t.config.JWTUserClaim, err)
	}
	who := Identity{ID: id, Rooms: c.Rooms, Expires: c.Expiry.Time(), Issued: c.IssuedAt.Time(), TokenID: c.ID}
	_ = json.Unmarshal(all["name"], &who.Name) // what is no text is no name
	who.Scopes = scopes(all["scope"])
	return who, nil
}

// scopes reads the claim; what is neither text nor a list of texts allows nothing.
func scopes(raw json.RawMessage) (list []string) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return strings.Fields(text)
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

// algorithms are those that a token may be signed with: a secret's or those of
// public keys, never both, so that no public key is taken for a secret.
func (t *Tokens) algorithms() []jose.SignatureAlgorithm {
	if t.keys == nil {
		return []jose.SignatureAlgorithm{jose.HS256}
	}
	return []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}
}

func (t *Tokens) key(ctx context.Context, id string, alg jose.SignatureAlgorithm) (any, error) {
	switch {
	case t.keys != nil:
		return t.keys.find(ctx, id, alg)
	case len(t.secret) > 0:
		return t.secret, nil
	default:
		return nil, refusedToken("neither POSTRIDER_JWT_SECRET nor POSTRIDER_JWKS_URL is set")
	}
}

// check judges times, issuer and audience (RFC 7519 section 4.1).
func (t *Tokens) check(c claims) error {
	if c.Expiry == nil {
		return refusedToken("it never expires")
	}
	want := jwt.Expected{Issuer: t.config.JWTIssuer, Time: t.now()}
	if t.config.JWTAudience != "" {
		want.AnyAudience = jwt.Audience{t.config.JWTAudience}
	}
	given := jwt.Claims{Issuer: c.Issuer, Audience: c.Audience, Expiry: c.Expiry, NotBefore: c.NotBefore, IssuedAt: c.IssuedAt}
	if err := given.ValidateWithLeeway(want, leeway); err != nil {
		return refusedToken("%w", err)
	}
	if len(c.Rooms) > maxRooms {
		return refusedToken("it names more than %d rooms", maxRooms)
	}
	return nil
}

// wholeNumber is a number that has one way to be written, so that no user has
// two ids.
var wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,18})$`)

// userID reads the user's claim: a string, or a whole number as it stands.
func userID(raw json.RawMessage) (string, error) {
	var id string
	switch {
	case len(raw) == 0:
		return "", errors.New("is missing")
	case wholeNumber.Match(raw):
		return string(raw), nil
	case json.Unmarshal(raw, &id) != nil:
		return "", errors.New("is neither a string nor a whole number")
	case !nameFits(id):
		return "", fmt.Errorf("is empty, longer than %d bytes or has control characters", maxUserID)
	}
	return id, nil
}

func refusedToken(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrToken, fmt.Errorf(format, args...))
}
