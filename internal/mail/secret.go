package mail

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"strings"
)

// MinSecret is the fewest bytes of a secret.
const MinSecret = 32

// Secret signs what Postrider later has to know again as its own: return paths,
// links to unsubscribe. Who knows it can forge those. It is one secret or several
// with commas or white space between: the first signs, all are known, so that
// what is out there outlives a change of secrets.
type Secret string

// Validate reports a secret that is too short; none at all is fine.
func (s Secret) Validate() error {
	for _, one := range s.all() {
		if len(one) < MinSecret {
			return errors.New("POSTRIDER_SECRET must have 32 characters at least, such as openssl rand -hex 32 prints; of several, with commas between, each")
		}
	}
	return nil
}

func (s Secret) all() []string {
	return strings.FieldsFunc(string(s), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// Keys derives keys of 32 bytes for one purpose (HKDF, RFC 5869), one of each
// secret, so that what is signed for one purpose is worth nothing for another.
// The first is for signing.
func (s Secret) Keys(purpose string) [][]byte {
	var keys [][]byte
	for _, one := range s.all() {
		key, err := hkdf.Key(sha256.New, []byte(one), nil, "postrider "+purpose, sha256.Size)
		if err == nil { // it only errs for a length that HKDF cannot make
			keys = append(keys, key)
		}
	}
	return keys
}
