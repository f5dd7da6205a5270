package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// MaxTokenLife bounds tokens that are made here: a revocation is remembered for
// as long.
const MaxTokenLife = 30 * 24 * time.Hour

// Sign makes the token of a user (ID, Rooms and Scopes of who) as the settings
// want it, good from now for that long, up to MaxTokenLife: for people who try
// things out. What an application's users bring is made by the application. The
// error says what of the user, the rooms, the scopes or the time cannot be, or
// that there is no secret to sign with.
func (c Config) Sign(who Identity, life time.Duration) (string, Identity, error) {
	now := time.Now().Truncate(time.Second) // which is all that a token tells
	who.Issued, who.Expires, who.TokenID = now, now.Add(life).Truncate(time.Second), rand.Text()
	if err := c.checkSigned(who, life); err != nil {
		return "", Identity{}, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(c.JWTSecret)}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", Identity{}, fmt.Errorf("preparing to sign a token: %w", err)
	}
	claims := map[string]any{"exp": who.Expires.Unix(), "iat": who.Issued.Unix(), "jti": who.TokenID}
	for name, value := range map[string]string{"iss": c.JWTIssuer, "aud": c.JWTAudience, c.JWTUserClaim: who.ID} {
		if value != "" {
			claims[name] = value
		}
	}
	if len(who.Rooms) > 0 {
		claims["rooms"] = who.Rooms
	}
	if len(who.Scopes) > 0 {
		claims["scope"] = strings.Join(who.Scopes, " ") // RFC 8693 section 4.2
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", Identity{}, fmt.Errorf("signing a token: %w", err)
	}
	if len(token) > maxToken {
		return "", Identity{}, fmt.Errorf("the names of rooms and scopes are too long together: a token may have %d bytes", maxToken)
	}
	return token, who, nil
}

func (c Config) checkSigned(who Identity, life time.Duration) error {
	switch {
	case c.JWTSecret == "":
		return errors.New("there is no secret to sign with: POSTRIDER_JWT_SECRET is not set")
	case !nameFits(who.ID):
		return fmt.Errorf("a user's id has 1 to %d bytes without control characters", maxUserID)
	case life < time.Second || life > MaxTokenLife:
		return fmt.Errorf("a token is good for one second to %d days", int(MaxTokenLife.Hours()/24))
	case len(who.Rooms) > maxRooms:
		return fmt.Errorf("a token lists up to %d rooms", maxRooms)
	}
	for _, room := range who.Rooms {
		if !nameFits(room) {
			return fmt.Errorf("a room's name has 1 to %d bytes without control characters", maxUserID)
		}
	}
	for _, scope := range who.Scopes {
		if !nameFits(scope) || strings.ContainsRune(scope, ' ') {
			return fmt.Errorf("a scope is a word of 1 to %d bytes", maxUserID)
		}
	}
	return nil
}

// nameFits bounds the id of a user and the name of a room: each names a stream.
func nameFits(s string) bool {
	return s != "" && len(s) <= maxUserID && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
