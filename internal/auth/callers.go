package auth

import (
	"net/http"
	"strings"
)

// Callers knows who asks, by an API key or by a user's token.
type Callers struct {
	Keys   *Keys
	Tokens *Tokens
}

// Authenticate returns who sends the request. A token comes as a key does:
// `Authorization: Bearer TOKEN`. Where there are no keys everyone is anonymous,
// but for who brings a token. The error is ErrUnauthorized, or one of
// Tokens.Verify.
func (c Callers) Authenticate(r *http.Request) (Principal, error) {
	who, err := c.Keys.Authenticate(r)
	token, given := presented(r)
	if err == nil && !c.Keys.Open() || !given || !c.Tokens.Enabled() || !looksLikeToken(token) {
		return who, err
	}
	user, err := c.Tokens.Verify(r.Context(), token)
	if err != nil {
		return Principal{}, err
	}
	return Principal{Name: "user:" + user.ID, User: &user}, nil
}

// looksLikeToken tells a token from a key that is mistyped, which is to be
// refused as a key: three parts with dots between (RFC 7515 section 7.1).
func looksLikeToken(s string) bool { return strings.Count(s, ".") == 2 }
