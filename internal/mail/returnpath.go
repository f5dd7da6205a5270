package mail

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
)

const (
	returnPrefix = "bounce+"
	// returnMAC is the length of a signature in bytes: 80 bits, of which each
	// guess costs a mail to us.
	returnMAC = 10
)

var returnCode = base32.HexEncoding.WithPadding(base32.NoPadding)

// ReturnPaths makes and reads the addresses that bounces go to: of each message
// its own, bounce+ID.SIGNATURE@POSTRIDER_BOUNCE_DOMAIN (variable envelope return
// paths). What comes back to one belongs to that message, and only who was sent
// the message can write to it.
type ReturnPaths struct {
	domain string
	keys   [][]byte // the first signs
}

// NewReturnPaths returns nil where POSTRIDER_BOUNCE_DOMAIN is not set. The
// configuration is valid.
func NewReturnPaths(c Config) *ReturnPaths {
	if c.BounceDomain == "" {
		return nil
	}
	return &ReturnPaths{domain: strings.ToLower(c.BounceDomain), keys: c.Secret.Keys("return path")}
}

// Of is the return path of the message with that id; empty for an id that is too
// long to stand in a local part (RFC 5321 §4.5.3.1.1), which no job's is.
func (r *ReturnPaths) Of(id string) string {
	id = strings.ToLower(id) // as a server on the way back may write it
	local := returnPrefix + id + "." + signReturn(r.keys[0], id)
	if len(local) > maxLocalPart {
		return ""
	}
	return local + "@" + r.domain
}

// MessageID is the id of the message that a return path belongs to; false for
// any other address, and for one that was not signed here.
func (r *ReturnPaths) MessageID(address string) (string, bool) {
	local, domain, _ := strings.Cut(strings.ToLower(address), "@")
	rest, ours := strings.CutPrefix(local, returnPrefix)
	dot := strings.LastIndexByte(rest, '.')
	if domain != r.domain || !ours || dot < 1 {
		return "", false
	}
	id, signature := rest[:dot], rest[dot+1:]
	return id, slices.ContainsFunc(r.keys, func(key []byte) bool {
		return hmac.Equal([]byte(signature), []byte(signReturn(key, id)))
	})
}

// Domain is the domain of all return paths, in lower case.
func (r *ReturnPaths) Domain() string { return r.domain }

func signReturn(key []byte, id string) string {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(id)) // a hash never errs
	return strings.ToLower(returnCode.EncodeToString(mac.Sum(nil)[:returnMAC]))
}
