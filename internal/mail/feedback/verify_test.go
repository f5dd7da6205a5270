package feedback

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SNS's version 1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

var testNow = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const (
	topic   = "arn:aws:sns:eu-west-1:123456789012:mail"
	certURL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem"
)

// amazonKey is SNS as a test plays it.
type amazonKey struct {
	key     *rsa.PrivateKey
	pem     []byte
	fetched []string
	err     error
}

func newAmazon(t *testing.T) *amazonKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"},
		NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(48 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &amazonKey{key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *amazonKey) fetch(_ context.Context, url string) ([]byte, error) {
	a.fetched = append(a.fetched, url)
	return a.pem, a.err
}

// sign makes the body of a message.
func (a *amazonKey) sign(t *testing.T, e envelope) []byte {
	t.Helper()
	text, _ := e.signed()
	method, sum := crypto.SHA256, sha256.Sum256([]byte(text))
	hashed := sum[:]
	if e.SignatureVersion == "1" {
		short := sha1.Sum([]byte(text)) //nolint:gosec // as above
		method, hashed = crypto.SHA1, short[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.key, method, hashed)
	if err != nil {
		t.Fatal(err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(signature)
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func notification() envelope {
	return envelope{
		Type: snsNotification, MessageId: "m-1", TopicArn: topic, Message: `{"notificationType":"Bounce"}`,
		Timestamp: testNow.Format(time.RFC3339), SignatureVersion: "2", SigningCertURL: certURL,
	}
}

func newReceiver(t *testing.T, c Config, fetch Fetch) *Receiver {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReceiver(Options{Config: c, Now: func() time.Time { return testNow }, Fetch: fetch})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSES(t *testing.T) {
	amazon := newAmazon(t)
	r := newReceiver(t, Config{SESTopics: []string{topic}}, amazon.fetch)
	for _, version := range []string{"1", "2"} {
		e := notification()
		e.SignatureVersion, e.Subject = version, "with a subject"
		got, err := r.Receive(t.Context(), "ses", nil, amazon.sign(t, e))
		if err != nil || !got.Store || got.Key == "" {
			t.Errorf("version %s: %+v, %v", version, got, err)
		}
	}
	if len(amazon.fetched) != 1 {
		t.Errorf("the certificate was fetched %d times", len(amazon.fetched))
	}
}

func TestSESConfirms(t *testing.T) {
	amazon := newAmazon(t)
	r := newReceiver(t, Config{SESTopics: []string{topic}}, amazon.fetch)
	e := notification()
	e.Type, e.Token, e.SubscribeURL = snsSubscribe, "token", "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"
	got, err := r.Receive(t.Context(), "ses", nil, amazon.sign(t, e))
	if err != nil || got.Store || len(amazon.fetched) != 2 || amazon.fetched[1] != e.SubscribeURL {
		t.Errorf("%+v, %v; fetched %q", got, err, amazon.fetched)
	}
	amazon.err = errors.New("down")
	if _, err := r.Receive(t.Context(), "ses", nil, amazon.sign(t, e)); !errors.Is(err, ErrAway) {
		t.Errorf("with Amazon away: %v", err)
	}
}

// What is not Amazon's, or not ours, is refused, and leads to no request.
func TestSESForged(t *testing.T) {
	amazon := newAmazon(t)
	for name, change := range map[string]func(*envelope){
		"another topic":           func(e *envelope) { e.TopicArn += "x" },
		"an old one":              func(e *envelope) { e.Timestamp = testNow.Add(-maxAge - time.Minute).Format(time.RFC3339) },
		"one of the future":       func(e *envelope) { e.Timestamp = testNow.Add(time.Hour).Format(time.RFC3339) },
		"no time":                 func(e *envelope) { e.Timestamp = "" },
		"another type":            func(e *envelope) { e.Type = "Other" },
		"another version":         func(e *envelope) { e.SignatureVersion = "3" },
		"plain http":              func(e *envelope) { e.SigningCertURL = strings.Replace(certURL, "https", "http", 1) },
		"another host":            func(e *envelope) { e.SigningCertURL = "https://example.com/x.pem" },
		"a host that looks alike": func(e *envelope) { e.SigningCertURL = "https://sns.eu-west-1.amazonaws.com.example.com/x.pem" },
		"a host of a customer":    func(e *envelope) { e.SigningCertURL = "https://bucket.s3.amazonaws.com/x.pem" },
		"a user":                  func(e *envelope) { e.SigningCertURL = "https://sns.eu-west-1.amazonaws.com@example.com/x.pem" },
		"a port":                  func(e *envelope) { e.SigningCertURL = "https://sns.eu-west-1.amazonaws.com:8443/x.pem" },
		"no certificate":          func(e *envelope) { e.SigningCertURL = "https://sns.eu-west-1.amazonaws.com/x" },
		"confirmed elsewhere": func(e *envelope) {
			e.Type, e.SubscribeURL = snsSubscribe, "https://169.254.169.254/latest"
		},
	} {
		t.Run(name, func(t *testing.T) {
			amazon.fetched = nil
			r := newReceiver(t, Config{SESTopics: []string{topic}}, amazon.fetch)
			e := notification()
			change(&e)
			if got, err := r.Receive(t.Context(), "ses", nil, amazon.sign(t, e)); !errors.Is(err, ErrForged) {
				t.Errorf("%+v, %v", got, err)
			}
			for _, url := range amazon.fetched {
				if url != certURL {
					t.Errorf("it fetched %s", url)
				}
			}
		})
	}
	r := newReceiver(t, Config{SESTopics: []string{topic}}, amazon.fetch)
	e := notification()
	for name, body := range map[string][]byte{
		"a changed body": []byte(strings.Replace(string(amazon.sign(t, e)), "Bounce", "Complaint", 1)),
		"another's key":  newAmazon(t).sign(t, e),
		"no signature":   []byte(`{"TopicArn":"` + topic + `","Type":"Notification"}`),
		"no JSON":        []byte("hello"),
	} {
		if _, err := r.Receive(t.Context(), "ses", nil, body); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSendGrid(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t, Config{SendGridKey: base64.StdEncoding.EncodeToString(der)}, nil)
	signed := func(at time.Time, body string) http.Header {
		stamp := strconv.FormatInt(at.Unix(), 10)
		sum := sha256.Sum256([]byte(stamp + body))
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return http.Header{
			"X-Twilio-Email-Event-Webhook-Timestamp": {stamp},
			"X-Twilio-Email-Event-Webhook-Signature": {base64.StdEncoding.EncodeToString(signature)},
		}
	}
	for _, age := range []time.Duration{0, 24 * time.Hour} { // it tries again for a day
		if _, err := r.Receive(t.Context(), "sendgrid", signed(testNow.Add(-age), "[]"), []byte("[]")); err != nil {
			t.Errorf("of %s ago: %v", age, err)
		}
	}
	// What is signed is the body as it came: SendGrid's ends with a line of its own.
	raw := "[{\"a\": 1},\r\n{\"b\":2}]\r\n"
	if _, err := r.Receive(t.Context(), "sendgrid", signed(testNow, raw), []byte(raw)); err != nil {
		t.Errorf("with white space: %v", err)
	}
	// Time and body are signed without anything between: what is moved from one to
	// the other bears no time any more.
	moved := signed(testNow, "[]")
	moved.Set("X-Twilio-Email-Event-Webhook-Timestamp", moved.Get("X-Twilio-Email-Event-Webhook-Timestamp")+"[")
	if _, err := r.Receive(t.Context(), "sendgrid", moved, []byte("]")); !errors.Is(err, ErrForged) {
		t.Errorf("with a part of the body in its time: %v", err)
	}
	for name, h := range map[string]http.Header{
		"another body": signed(testNow, "[{}]"), "none": {}, "an old one": signed(testNow.Add(-26*time.Hour), "[]"), "one of the future": signed(testNow.Add(6*time.Minute), "[]"),
	} {
		if _, err := r.Receive(t.Context(), "sendgrid", h, []byte("[]")); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPostmark(t *testing.T) {
	r := newReceiver(t, Config{PostmarkSecret: "a-long-secret-of-16"}, nil)
	for password, good := range map[string]bool{"a-long-secret-of-16": true, "a-long-secret-of-17": false, "": false} {
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth("postmark", password)
		if _, err := r.Receive(t.Context(), "postmark", req.Header, []byte("{}")); good != (err == nil) || !good && !errors.Is(err, ErrPassword) {
			t.Errorf("%q: %v", password, err)
		}
	}
	if _, err := r.Receive(t.Context(), "postmark", http.Header{}, nil); !errors.Is(err, ErrPassword) {
		t.Errorf("without a password: %v", err)
	}
}

func TestMailgun(t *testing.T) {
	const key, token = "key-0123456789", "0123456789abcdef0123456789abcdef0123456789abcdef01"
	r := newReceiver(t, Config{MailgunKey: key}, nil)
	body := func(at time.Time, token, signature string) []byte {
		stamp := strconv.FormatInt(at.Unix(), 10)
		if signature == "" {
			signature = mac(key, stamp, token)
		}
		return fmt.Appendf(nil, `{"signature":{"timestamp":%q,"token":%q,"signature":%q},"event-data":{}}`, stamp, token, signature)
	}
	if got, err := r.Receive(t.Context(), "mailgun", nil, body(testNow, token, "")); err != nil || got.Key != token {
		t.Errorf("%+v, %v", got, err)
	}
	for name, b := range map[string][]byte{
		"another's": body(testNow, token, mac("other", "x")), "an old one": body(testNow.Add(-24*time.Hour), token, ""),
		"a short token": body(testNow, "x", ""), "no JSON": []byte("x"),
	} {
		if _, err := r.Receive(t.Context(), "mailgun", nil, b); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGeneric(t *testing.T) {
	const key = "0123456789abcdef"
	r := newReceiver(t, Config{GenericKey: key}, nil)
	signed := func(at time.Time, body string) http.Header {
		stamp := strconv.FormatInt(at.Unix(), 10)
		return http.Header{GenericHeader: {"t=" + stamp + ",v1=" + SignGeneric(key, stamp, []byte(body))}}
	}
	if _, err := r.Receive(t.Context(), "generic", signed(testNow, "{}"), []byte("{}")); err != nil {
		t.Error(err)
	}
	for name, h := range map[string]http.Header{
		"another body": signed(testNow, "x"), "none": {}, "an old one": signed(testNow.Add(-6*time.Minute), "{}"),
		"one of the future": signed(testNow.Add(6*time.Minute), "{}"),
	} {
		if _, err := r.Receive(t.Context(), "generic", h, []byte("{}")); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingIsTakenUnlessItIsSet(t *testing.T) {
	r := newReceiver(t, Config{}, nil)
	for _, provider := range []string{"ses", "sendgrid", "postmark", "mailgun", "generic", "other", ""} {
		if _, err := r.Receive(t.Context(), provider, http.Header{}, []byte("{}")); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", provider, err)
		}
	}
	for _, c := range []Config{{SESTopics: []string{"mail"}}, {SendGridKey: "s3cret"}, {PostmarkSecret: "s3cret"}, {GenericKey: "s3cret"}} {
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
