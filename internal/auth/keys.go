package auth

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// minSecret is the least length of a secret, in bytes: shorter ones can be
// guessed.
const minSecret = 16

// APIKeys is the parsed form of name:secret:scope+scope,…
type APIKeys []Key

// Key is one caller's key. Of the secret only its SHA-256 hash is kept.
type Key struct {
	Name   string
	Scopes []Scope

	hash [sha256.Size]byte
}

// keyName bounds what appears in logs and metrics.
var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ValidName reports whether a key can have that name.
func ValidName(name string) bool { return keyName.MatchString(name) }

// UnmarshalText parses the list. White space around an entry is ignored, so
// that a file may hold one a line after the commas. An error names the entry by
// its name, or by its place where the name cannot be told from a secret, and
// never holds a secret.
func (k *APIKeys) UnmarshalText(text []byte) error {
	var keys APIKeys
	for i, entry := range strings.Split(string(text), ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue // a comma at the end
		}
		key, err := parseKey(entry)
		if err != nil {
			return fmt.Errorf("entry %d%w", i+1, err)
		}
		for _, other := range keys {
			if other.Name == key.Name {
				return fmt.Errorf("entry %d (%s): an entry before it has the same name", i+1, key.Name)
			}
			if other.hash == key.hash {
				return fmt.Errorf("entry %d (%s): has the same secret as %s", i+1, key.Name, other.Name)
			}
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return fmt.Errorf("holds no key; leave it unset for an open API")
	}
	*k = keys
	return nil
}

// parseKey parses one entry. Scopes hold colons too, so only the first two
// count.
func parseKey(entry string) (Key, error) {
	parts := strings.SplitN(entry, ":", 3)
	if len(parts) != 3 {
		return Key{}, fmt.Errorf(": want name:secret:scope+scope")
	}
	name, secret, scopes := parts[0], parts[1], parts[2]
	if !keyName.MatchString(name) {
		return Key{}, fmt.Errorf(": the name must be 1 to 64 letters, digits, dots, underscores or hyphens")
	}
	if len(secret) < minSecret {
		return Key{}, fmt.Errorf(" (%s): the secret is shorter than %d characters", name, minSecret)
	}
	key := Key{Name: name, hash: sha256.Sum256([]byte(secret))}
	for scope := range strings.SplitSeq(scopes, "+") {
		if !slices.Contains(AllScopes, Scope(scope)) {
			// Not the scope itself: in a secret that holds a colon it is the rest.
			return Key{}, fmt.Errorf(" (%s): its scopes must be of %s, with + between; a secret must not hold a colon or comma", name, scopeList())
		}
		key.Scopes = append(key.Scopes, Scope(scope))
	}
	return key, nil
}

func scopeList() string {
	var list []string
	for _, s := range AllScopes {
		list = append(list, string(s))
	}
	return strings.Join(list, " ")
}
