// Package webhook signs what is sent to other servers as Standard Webhooks wants
// it (https://www.standardwebhooks.com, "Signature scheme").
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// prefix marks a secret.
const prefix = "whsec_"

// Key is what messages are signed with.
type Key []byte

// ParseKey reads a secret: whsec_ and the base64 of 24 to 64 bytes. The error says
// how to make one, and nothing of the secret.
func ParseKey(secret string) (Key, error) {
	text, marked := strings.CutPrefix(secret, prefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !marked || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`must be whsec_ and the base64 of 24 to 64 bytes, as echo "whsec_$(openssl rand -base64 32)" makes one`)
	}
	return key, nil
}

// Headers are those of a JSON message that goes out at that time. A message that is
// sent again has the same id, by which its receiver knows it.
func (k Key) Headers(id string, at time.Time, body []byte) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(id + "." + stamp + "." + string(body))) // never errs
	return http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {stamp},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
}
