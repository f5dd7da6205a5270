package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

const (
	// SessionLife is how long a login lasts at most, however busy it is.
	SessionLife = 12 * time.Hour
	// BrowserLife is how long a browser is known to have logged in.
	BrowserLife = 90 * 24 * time.Hour
)

// What signed claims are for: one is never taken for another.
const (
	forSession = "postrider dashboard session 1"
	forBrowser = "postrider dashboard browser 1"
)

// Session makes the token of a login: the user's name, the time of its end and
// chance, signed by HMAC-SHA256. The key is made of the user's own entry, so
// that all processes with the same configuration take the token, and a changed
// password or role ends the user's sessions. That one was ended before its time
// the token cannot tell: whoever takes it asks for that too.
func (u User) Session(now time.Time) string { return u.claim(forSession, now.Add(SessionLife)) }

// Session returns whose session the token is, unless it is over or not ours.
func (u Users) Session(token string, now time.Time) (User, bool) {
	return u.claimant(forSession, token, now)
}

// Browser makes the token by which a browser is known that the user has logged
// in with. It opens nothing: it sets the browser apart from strangers who try
// the user's name.
func (u User) Browser(now time.Time) string { return u.claim(forBrowser, now.Add(BrowserLife)) }

// Browser returns whose browser the token is of; nobody's where it is too old,
// or the user's password has changed since.
func (u Users) Browser(token string, now time.Time) (User, bool) {
	return u.claimant(forBrowser, token, now)
}

func (u User) claim(purpose string, end time.Time) string {
	claim := u.Name + ":" + strconv.FormatInt(end.Unix(), 10) + ":" + rand.Text()
	return encode([]byte(claim)) + "." + encode(u.sign(purpose, claim))
}

func (u Users) claimant(purpose, token string, now time.Time) (User, bool) {
	body, signature, _ := strings.Cut(token, ".")
	claim, err := decode(body)
	if err != nil {
		return User{}, false
	}
	mac, err := decode(signature)
	if err != nil {
		return User{}, false
	}
	name, rest, _ := strings.Cut(string(claim), ":")
	until, _, _ := strings.Cut(rest, ":")
	user, known := u.find(name)
	if !known || !hmac.Equal(mac, user.sign(purpose, string(claim))) {
		return User{}, false
	}
	end, err := strconv.ParseInt(until, 10, 64)
	if err != nil || now.Unix() >= end {
		return User{}, false
	}
	return user, true
}

// Fingerprint names a session to other processes without giving it away.
func Fingerprint(session string) string {
	sum := sha256.Sum256([]byte("postrider dashboard fingerprint 1\x00" + session))
	return encode(sum[:16])
}

func (u User) sign(purpose, claim string) []byte {
	key := sha256.Sum256([]byte(purpose + "\x00" + u.Name + "\x00" + string(u.Role) + "\x00" + string(u.hash)))
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(claim)) // never errs
	return mac.Sum(nil)
}

func encode(b []byte) string          { return base64.RawURLEncoding.EncodeToString(b) }
func decode(s string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(s) }
