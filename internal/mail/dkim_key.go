package mail

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/secretfile"
)

// minRSA is the least length of an RSA key in bits: RFC 8301 §3.2 asks signers
// for 2048.
const minRSA = 2048

// maxKeyFile bounds a key's file, in bytes, which could be anything.
const maxKeyFile = 64 << 10

// loadKey reads a private key: PEM, in PKCS #8 or PKCS #1. Who has the key can
// send in the domain's name: secretfile says whose file is refused, and what an
// operator is warned of.
func loadKey(file string) (key crypto.Signer, warning string, err error) {
	text, warning, err := secretfile.Read(file, maxKeyFile)
	if err != nil {
		return nil, "", fmt.Errorf("the private key: %w", err)
	}
	key, err = parsePrivateKey(file, text)
	return key, warning, err
}

func parsePrivateKey(file string, text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("the private key %s is not PEM", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if block.Type == "RSA PRIVATE KEY" {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil { // whose text could show a part of the key
		return nil, fmt.Errorf("the private key %s cannot be read: it must be PKCS #8 or PKCS #1, without a password", file)
	}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSA {
			return nil, fmt.Errorf("the private key %s has %d bits, %d are the least (RFC 8301)", file, key.N.BitLen(), minRSA)
		}
		return key, nil
	}
	return nil, fmt.Errorf("the private key %s is neither RSA nor Ed25519", file)
}

// Published is what the DNS says of one key.
type Published struct {
	Name   string // domain:selector
	Record string // the DNS name at which the public key is looked for
	Want   string // the TXT record that should be there
	// Err is nil where the record has our public key. It wraps a *net.DNSError
	// where the DNS did not answer or has no such name.
	Err error
}

// TXTResolver is a *net.Resolver.
type TXTResolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Check looks each key's record up, in the order of their names.
func (k Keys) Check(ctx context.Context, dns TXTResolver) []Published {
	var out []Published
	for _, domain := range slices.Sorted(maps.Keys(k.byDomain)) {
		for _, key := range k.byDomain[domain] {
			p := Published{Name: key.name(), Record: key.record()}
			public, err := publicRecord(key.signer)
			p.Want = public
			if err == nil {
				err = lookUp(ctx, dns, key)
			}
			p.Err = err
			out = append(out, p)
		}
	}
	return out
}

// publicRecord is the TXT record of a key (RFC 6376 §3.6.1, RFC 8463 §4).
func publicRecord(signer crypto.Signer) (string, error) {
	kind, public := "rsa", []byte(nil)
	if key, ok := signer.Public().(ed25519.PublicKey); ok {
		kind, public = "ed25519", key
	} else {
		var err error
		if public, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
			return "", fmt.Errorf("writing the public key: %w", err)
		}
	}
	return "v=DKIM1; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(public), nil
}

// lookUp errs unless the DNS has the key's public half.
func lookUp(ctx context.Context, dns TXTResolver, key signingKey) error {
	records, err := dns.LookupTXT(ctx, key.record())
	if err != nil {
		var unknown *net.DNSError
		if errors.As(err, &unknown) && unknown.IsNotFound {
			return fmt.Errorf("there is no TXT record %s: %w", key.record(), err)
		}
		return fmt.Errorf("looking up %s: %w", key.record(), err)
	}
	for _, record := range records {
		if samePublic(record, key.signer) {
			return nil
		}
	}
	return fmt.Errorf("the TXT record %s holds another key", key.record())
}

// samePublic tells whether a DKIM record has the key's public half. RSA keys
// are published as SubjectPublicKeyInfo; RFC 6376 §3.6.1 writes of a bare
// RSAPublicKey, so both are known.
func samePublic(record string, signer crypto.Signer) bool {
	tags := map[string]string{}
	for tag := range strings.SplitSeq(record, ";") {
		name, value, _ := strings.Cut(tag, "=")
		tags[strings.TrimSpace(name)] = strings.Join(strings.Fields(value), "")
	}
	p, err := base64.StdEncoding.DecodeString(tags["p"])
	if err != nil {
		return false
	}
	kind := orDefault(tags["k"], "rsa")
	switch public := signer.Public().(type) {
	case ed25519.PublicKey:
		return kind == "ed25519" && bytes.Equal(p, public)
	case *rsa.PublicKey:
		if kind != "rsa" {
			return false
		}
		if published, err := x509.ParsePKIXPublicKey(p); err == nil {
			return public.Equal(published)
		}
		published, err := x509.ParsePKCS1PublicKey(p)
		return err == nil && public.Equal(published)
	}
	return false
}
