package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// SessionLife is how long a login lasts.
const SessionLife = 12 * time.Hour

// Session makes the token of a login: the user's name and the time of its end,
// signed by HMAC-SHA256. The key is made of the user's own entry, so that all
// processes with the same configuration take the token, and a changed
// password or role ends the user's sessions. A single session cannot be ended
// before its time: it is kept nowhere but at the browser.
func (u User) Session(now time.Time) string {
	claim := u.Name + ":" + strconv.FormatInt(now.Add(SessionLife).Unix(), 10)
	return encode([]byte(claim)) + "." + encode(u.sign(claim))
}

// Session returns whose session the token is, unless it is over or not ours.
func (u Users) Session(token string, now time.Time) (User, bool) {
	body, signature, _ := strings.Cut(token, ".")
	claim, err := decode(body)
	if err != nil {
		return User{}, false
	}
	mac, err := decode(signature)
	if err != nil {
		return User{}, false
	}
	name, until, _ := strings.Cut(string(claim), ":")
	user, known := u.find(name)
	if !known || !hmac.Equal(mac, user.sign(string(claim))) {
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

func (u User) sign(claim string) []byte {
	key := sha256.Sum256([]byte("postrider dashboard session 1\x00" + u.Name + "\x00" + string(u.Role) + "\x00" + string(u.hash)))
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(claim)) // never errs
	return mac.Sum(nil)
}

func encode(b []byte) string          { return base64.RawURLEncoding.EncodeToString(b) }
func decode(s string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(s) }
