// Package feedback takes in what providers and servers tell of mails after they
// took them: webhooks, each authenticated its provider's way, and messages that
// come back (RFC 3464 and RFC 5965).
//
// A Receiver decides whether a webhook is genuine before it is stored; Events and
// Message read it afterwards, as a job.
package feedback

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
)

// Config is who may tell of mails. A provider of which nothing is set is refused.
type Config struct {
	SESTopics      []string `env:"POSTRIDER_FEEDBACK_SES_TOPICS" help:"the ARNs of the SNS topics by which Amazon SES tells of mails, with commas between; their subscriptions are confirmed"`
	SendGridKey    string   `env:"POSTRIDER_FEEDBACK_SENDGRID_KEY" secret:"true" help:"the verification key of SendGrid's signed event webhook"`
	PostmarkSecret string   `env:"POSTRIDER_FEEDBACK_POSTMARK_SECRET" secret:"true" help:"the password that Postmark's webhook sends with any user's name, as HTTP basic authentication; 16 characters at least"`
	MailgunKey     string   `env:"POSTRIDER_FEEDBACK_MAILGUN_KEY" secret:"true" help:"Mailgun's webhook signing key"`
	GenericKey     string   `env:"POSTRIDER_FEEDBACK_GENERIC_KEY" secret:"true" help:"the key of the generic webhook's signature, see docs/feedback.md; 16 characters at least"`
}

// minKey is the least length of a secret that a person thinks up, in bytes.
const minKey = 16

// Validate reports every setting that cannot work, by its variable's name.
func (c Config) Validate() error {
	var errs []error
	for i, arn := range c.SESTopics {
		if !strings.HasPrefix(arn, "arn:aws") || strings.Count(arn, ":") != 5 {
			errs = append(errs, fmt.Errorf("POSTRIDER_FEEDBACK_SES_TOPICS: entry %d is not an ARN, arn:aws:sns:region:account:name", i+1))
		}
	}
	if _, err := c.sendGridKey(); err != nil {
		errs = append(errs, err)
	}
	for name, secret := range map[string]string{"POSTMARK_SECRET": c.PostmarkSecret, "GENERIC_KEY": c.GenericKey} {
		if secret != "" && len(secret) < minKey {
			errs = append(errs, fmt.Errorf("POSTRIDER_FEEDBACK_%s must have %d characters at least", name, minKey))
		}
	}
	return errors.Join(errs...)
}

// sendGridKey is nil where none is set.
func (c Config) sendGridKey() (*ecdsa.PublicKey, error) {
	if c.SendGridKey == "" {
		return nil, nil
	}
	bad := errors.New("POSTRIDER_FEEDBACK_SENDGRID_KEY is not the base64 of an ECDSA public key")
	der, err := base64.StdEncoding.DecodeString(c.SendGridKey)
	if err != nil {
		return nil, bad
	}
	key, err := x509.ParsePKIXPublicKey(der)
	public, ok := key.(*ecdsa.PublicKey)
	if err != nil || !ok {
		return nil, bad
	}
	return public, nil
}

// Errors of Receive.
var (
	// ErrUnknown: no such provider, or nothing is set for it.
	ErrUnknown = errors.New("no feedback is taken from this provider")
	// ErrForged: the request does not come from its provider, or is too old.
	ErrForged = errors.New("the request is not authentic")
	// ErrPassword: a password is wanted that is missing or wrong.
	ErrPassword = errors.New("the password is missing or wrong")
	// ErrBroken: it is authentic, and is not what the provider documents.
	ErrBroken = errors.New("the request cannot be read")
	// ErrAway: what is needed to tell could not be asked for; the provider shall
	// come again.
	ErrAway = errors.New("the request cannot be verified now")
)

// How old a signed request may be, and how far clocks may differ. Providers send
// one again while it is not taken: SendGrid for 24 hours, Mailgun for 8, SNS for 6
// at most. What a signature covers changes nothing when it comes again. Mailgun's
// does not cover the body: it serves once as long as job.KeepIdempotency, and so
// must be too old after that.
const (
	maxAge   = 25 * time.Hour
	tokenAge = 23 * time.Hour
	maxAhead = 5 * time.Minute
)

// Receiver knows genuine webhooks.
type Receiver struct {
	config   Config
	sendGrid *ecdsa.PublicKey
	now      func() time.Time
	fetch    Fetch

	mu    sync.Mutex
	certs map[string]*x509.Certificate // by URL
}

// Fetch gets a document of bounded size from an address that was checked; it
// follows no redirect.
type Fetch func(ctx context.Context, url string) ([]byte, error)

// Options are what a Receiver is made of; all are needed.
type Options struct {
	Config Config // that is valid
	Now    func() time.Time
	Fetch  Fetch // a fetch.Client's Get
}

// NewReceiver makes a Receiver.
func NewReceiver(o Options) (*Receiver, error) {
	key, err := o.Config.sendGridKey()
	if err != nil {
		return nil, err
	}
	return &Receiver{config: o.Config, sendGrid: key, now: o.Now, fetch: o.Fetch, certs: map[string]*x509.Certificate{}}, nil
}

// Received is a genuine request.
type Received struct {
	// Key names it: a request that is sent again has the same. Where one key comes
	// with two bodies, one of them is forged.
	Key string
	// Store is false for a request that asked for something else and has got it.
	Store bool
}

// Receive verifies a provider's request: "ses", "sendgrid", "postmark", "mailgun"
// or "generic". Its errors are, or wrap, those above.
func (r *Receiver) Receive(ctx context.Context, provider string, h http.Header, body []byte) (Received, error) {
	sum := sha256.Sum256(body)
	got := Received{Key: hex.EncodeToString(sum[:]), Store: true}
	var err error
	switch provider {
	case "ses":
		got.Store, err = r.ses(ctx, body)
	case "sendgrid":
		err = r.verifySendGrid(h, body)
	case "postmark":
		err = r.verifyPostmark(h)
	case "mailgun":
		got.Key, err = r.verifyMailgun(body)
	case "generic":
		err = r.verifyGeneric(h, body)
	default:
		err = ErrUnknown
	}
	return got, err
}

// fresh refuses what was signed too long ago.
func (r *Receiver) fresh(at time.Time, age time.Duration) error {
	if now := r.now(); now.Sub(at) > age || at.Sub(now) > maxAhead {
		return fmt.Errorf("%w: it was signed at another time", ErrForged)
	}
	return nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
