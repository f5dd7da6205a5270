package mail

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
)

// MinSecret is the fewest bytes of a Secret.
const MinSecret = 32

// Secret signs what Postrider later has to know again as its own: return paths,
// links to unsubscribe. Who knows it can forge those. With another one, those
// that are out there mean nothing any more.
type Secret string

// Validate reports a secret that is too short; none at all is fine.
func (s Secret) Validate() error {
	if s != "" && len(s) < MinSecret {
		return errors.New("POSTRIDER_SECRET must have 32 characters at least, such as openssl rand -hex 32 prints")
	}
	return nil
}

// Key derives a key of 32 bytes for one purpose (HKDF, RFC 5869), so that what is
// signed for one is worth nothing for another.
func (s Secret) Key(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(s), nil, "postrider "+purpose, sha256.Size)
	if err != nil { // of a length that HKDF cannot make, which this is not
		return nil
	}
	return key
}
