package mail

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// linkMAC is the length of a link's signature in bytes.
const linkMAC = 16

var linkCode = base64.RawURLEncoding.Strict()

// Links makes and reads the links by which recipients unsubscribe (RFC 8058),
// PUBLIC_URL/unsubscribe/TOKEN. The token says who unsubscribes of what, signed:
// it needs no login, cannot be made up, and does not grow old.
type Links struct {
	base       string
	keys       [][]byte // the first signs
	categories Categories
}

// Subscription is what a link ends.
type Subscription struct {
	Address  string // as Normalise returns it
	Category string
	Job      string // the id of the mail's job
}

// NewLinks returns nil where there is no public URL or no secret: mails then
// have no links. Both are valid.
func NewLinks(publicURL string, secret Secret, c Categories) *Links {
	keys := secret.Keys("unsubscribe")
	if publicURL == "" || len(keys) == 0 {
		return nil
	}
	return &Links{base: strings.TrimSuffix(publicURL, "/") + "/unsubscribe/", keys: keys, categories: c}
}

// Of is the link of a mail to the address, in any form; empty where nobody can
// unsubscribe from the category, and of no Links.
func (l *Links) Of(address, category, job string) string {
	if l == nil || l.categories.Essential(category) {
		return ""
	}
	normal, err := Normalise(address)
	if err != nil { // the mail will not be sent either
		return ""
	}
	claim := strings.Join([]string{normal, category, job}, "\x00")
	return l.base + linkCode.EncodeToString([]byte(claim)) + "." + linkCode.EncodeToString(signLink(l.keys[0], claim))
}

// Read returns what a link's token says; false for one that was not made here.
func (l *Links) Read(token string) (Subscription, bool) {
	body, signature, _ := strings.Cut(token, ".")
	claim, err := linkCode.DecodeString(body)
	if err != nil {
		return Subscription{}, false
	}
	mac, err := linkCode.DecodeString(signature)
	if err != nil {
		return Subscription{}, false
	}
	for _, key := range l.keys {
		if parts := strings.Split(string(claim), "\x00"); hmac.Equal(mac, signLink(key, string(claim))) && len(parts) == 3 {
			return Subscription{Address: parts[0], Category: parts[1], Job: parts[2]}, true
		}
	}
	return Subscription{}, false
}

func signLink(key []byte, claim string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(claim)) // a hash never errs
	return mac.Sum(nil)[:linkMAC]
}
