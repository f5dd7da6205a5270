package feedback

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// verifySendGrid checks SendGrid's signed event webhook: ECDSA over the SHA-256
// of the time and the body.
func (r *Receiver) verifySendGrid(h http.Header, body []byte) error {
	if r.sendGrid == nil {
		return ErrUnknown
	}
	stamp := h.Get("X-Twilio-Email-Event-Webhook-Timestamp")
	signature, err := base64.StdEncoding.DecodeString(h.Get("X-Twilio-Email-Event-Webhook-Signature"))
	if err != nil {
		return ErrForged
	}
	hash := sha256.New()
	_, _ = hash.Write([]byte(stamp)) // a hash never errs
	_, _ = hash.Write(body)
	if !ecdsa.VerifyASN1(r.sendGrid, hash.Sum(nil), signature) {
		return ErrForged
	}
	return r.freshUnix(stamp, maxAge)
}

// verifyPostmark checks the password of HTTP basic authentication: Postmark signs
// nothing. Without it the answer must be 401: some clients send a password only
// when they are asked, and after a 403 Postmark does not come again.
func (r *Receiver) verifyPostmark(h http.Header) error {
	if r.config.PostmarkSecret == "" {
		return ErrUnknown
	}
	req := http.Request{Header: h}
	if _, password, ok := req.BasicAuth(); !ok || !same(password, r.config.PostmarkSecret) {
		return ErrPassword
	}
	return nil
}

// mailgunToken bounds what names a request.
var mailgunToken = regexp.MustCompile(`^[A-Za-z0-9]{20,128}$`)

// verifyMailgun checks Mailgun's signature, HMAC-SHA256 over the time and a token
// that is used once. It does not cover the body: the token is the request's name,
// so that it cannot come with another body.
func (r *Receiver) verifyMailgun(body []byte) (key string, err error) {
	if r.config.MailgunKey == "" {
		return "", ErrUnknown
	}
	var in struct {
		Signature struct {
			Timestamp string `json:"timestamp"`
			Token     string `json:"token"`
			Signature string `json:"signature"`
		} `json:"signature"`
	}
	if json.Unmarshal(body, &in) != nil || !mailgunToken.MatchString(in.Signature.Token) {
		return "", ErrForged
	}
	want := mac(r.config.MailgunKey, in.Signature.Timestamp, in.Signature.Token)
	if !same(in.Signature.Signature, want) {
		return "", ErrForged
	}
	return in.Signature.Token, r.freshUnix(in.Signature.Timestamp, tokenAge)
}

// GenericHeader bears the generic webhook's signature: t=TIME,v1=SIGNATURE, the
// time in seconds since 1970, the signature the hex of HMAC-SHA256 with
// POSTRIDER_FEEDBACK_GENERIC_KEY over time, "." and body.
const GenericHeader = "X-Postrider-Signature"

// genericAge is how old a generic request may be: its sender signs each attempt
// anew.
const genericAge = 5 * time.Minute

func (r *Receiver) verifyGeneric(h http.Header, body []byte) error {
	if r.config.GenericKey == "" {
		return ErrUnknown
	}
	stamp, signature, _ := strings.Cut(strings.TrimPrefix(h.Get(GenericHeader), "t="), ",v1=")
	if !same(signature, SignGeneric(r.config.GenericKey, stamp, body)) {
		return ErrForged
	}
	return r.freshUnix(stamp, genericAge)
}

// SignGeneric is the v1 of GenericHeader.
func SignGeneric(key, stamp string, body []byte) string { return mac(key, stamp, ".", string(body)) }

func mac(key string, parts ...string) string {
	h := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // a hash never errs
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (r *Receiver) freshUnix(stamp string, age time.Duration) error {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: it bears no time", ErrForged)
	}
	return r.fresh(time.Unix(seconds, 0), age)
}
