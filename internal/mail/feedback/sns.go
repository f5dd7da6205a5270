package feedback

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what SNS signs with unless told otherwise
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// envelope is a message of Amazon SNS to an HTTP endpoint.
type envelope struct {
	Type             string
	MessageId        string //nolint:revive // as SNS spells it
	TopicArn         string
	Subject          string
	Message          string
	Timestamp        string
	Token            string
	SubscribeURL     string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
}

// The types of SNS messages.
const (
	snsNotification = "Notification"
	snsSubscribe    = "SubscriptionConfirmation"
	snsUnsubscribe  = "UnsubscribeConfirmation"
)

// ses verifies a message of SNS and says whether it is to be stored. A
// subscription to a topic of ours is confirmed here.
func (r *Receiver) ses(ctx context.Context, body []byte) (store bool, err error) {
	if len(r.config.SESTopics) == 0 {
		return false, ErrUnknown
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return false, ErrForged
	}
	if !slices.Contains(r.config.SESTopics, e.TopicArn) {
		return false, fmt.Errorf("%w: its topic is not one of ours", ErrForged)
	}
	if err := r.verifySNS(ctx, e); err != nil {
		return false, err
	}
	at, err := time.Parse(time.RFC3339, e.Timestamp)
	if err != nil {
		return false, fmt.Errorf("%w: it bears no time", ErrForged)
	}
	if err := r.fresh(at, maxAge); err != nil {
		return false, err
	}
	switch e.Type {
	case snsNotification:
		return true, nil
	case snsSubscribe:
		if !amazon(e.SubscribeURL, "") {
			return false, fmt.Errorf("%w: the subscription is to be confirmed elsewhere", ErrForged)
		}
		if _, err := r.fetch(ctx, e.SubscribeURL); err != nil {
			return false, fmt.Errorf("%w: confirming the subscription: %w", ErrAway, err)
		}
		return false, nil
	}
	return false, nil // somebody has unsubscribed us; that is logged by who did it
}

// signed is what SNS signs of a message.
func (e envelope) signed() (string, bool) {
	fields := []string{"Message", e.Message, "MessageId", e.MessageId}
	switch e.Type {
	case snsNotification:
		if e.Subject != "" {
			fields = append(fields, "Subject", e.Subject)
		}
	case snsSubscribe, snsUnsubscribe:
		fields = append(fields, "SubscribeURL", e.SubscribeURL)
	default:
		return "", false
	}
	fields = append(fields, "Timestamp", e.Timestamp)
	if e.Type != snsNotification {
		fields = append(fields, "Token", e.Token)
	}
	fields = append(fields, "TopicArn", e.TopicArn, "Type", e.Type)
	return strings.Join(fields, "\n") + "\n", true
}

func (r *Receiver) verifySNS(ctx context.Context, e envelope) error {
	text, known := e.signed()
	signature, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil || !known {
		return ErrForged
	}
	var method crypto.Hash
	var sum []byte
	switch e.SignatureVersion {
	case "1":
		s := sha1.Sum([]byte(text)) //nolint:gosec // as above; the topic's SignatureVersion=2 is better
		method, sum = crypto.SHA1, s[:]
	case "2":
		s := sha256.Sum256([]byte(text))
		method, sum = crypto.SHA256, s[:]
	default:
		return ErrForged
	}
	cert, err := r.certificate(ctx, e.SigningCertURL)
	if err != nil {
		return err
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok || rsa.VerifyPKCS1v15(key, method, sum, signature) != nil {
		return ErrForged
	}
	return nil
}

// snsHost is where SNS keeps its certificates and confirms subscriptions: in a
// region, such as us-east-1. Others below amazonaws.com are anybody's:
// sns.s3.amazonaws.com and sns.s3-us-west-2.amazonaws.com are a bucket.
var snsHost = regexp.MustCompile(`^sns\.[a-z]{2}(-[a-z]{1,12}){1,3}-[0-9]{1,2}\.amazonaws\.com(\.cn)?$`)

// amazon tells addresses of SNS from all others: nothing else is ever fetched,
// whatever a request names.
func amazon(address, suffix string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && u.User == nil && snsHost.MatchString(u.Host) && strings.HasSuffix(u.Path, suffix)
}

// maxCerts bounds the certificates that are kept; SNS has one a region.
const maxCerts = 32

func (r *Receiver) certificate(ctx context.Context, address string) (*x509.Certificate, error) {
	if !amazon(address, ".pem") {
		return nil, fmt.Errorf("%w: its certificate is not Amazon's", ErrForged)
	}
	r.mu.Lock()
	cert := r.certs[address]
	r.mu.Unlock()
	if cert == nil {
		text, err := r.fetch(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("%w: fetching the certificate: %w", ErrAway, err)
		}
		if cert, err = parseCertificate(text); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAway, err)
		}
		r.mu.Lock()
		if len(r.certs) >= maxCerts {
			clear(r.certs)
		}
		r.certs[address] = cert
		r.mu.Unlock()
	}
	if now := r.now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, fmt.Errorf("%w: its certificate is not valid at this time", ErrForged)
	}
	return cert, nil
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("reading the certificate: it is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return cert, nil
}
