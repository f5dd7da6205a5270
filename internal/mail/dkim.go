package mail

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
	"golang.org/x/net/idna"
)

// signedHeaders are those that a signature covers where they are there: what
// a reader sees, and what a mail program acts upon (RFC 6376 §5.4.1, RFC 8058
// §4).
var signedHeaders = []string{
	"From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
	"List-Unsubscribe", "List-Unsubscribe-Post",
}

// oversignedHeaders cannot be added to a signed message: a second one, put in
// front of ours, would be what a mail program shows (RFC 6376 §8.15).
var oversignedHeaders = []string{"From", "To", "Subject"}

// signingKey is one entry of POSTRIDER_DKIM, with its key.
type signingKey struct {
	dkimEntry
	signer crypto.Signer // of an *rsa.PrivateKey or an ed25519.PrivateKey
}

// Keys sign what is sent, by DKIM (RFC 6376). The zero value signs nothing.
type Keys struct {
	// Warnings are for the operator, one sentence each.
	Warnings []string

	byDomain map[string][]signingKey
}

// LoadKeys reads the private keys that POSTRIDER_DKIM names. Its error joins
// all that is wrong, each part naming its entry.
func LoadKeys(entries DKIM) (Keys, error) {
	k := Keys{byDomain: map[string][]signingKey{}}
	var errs []error
	for _, e := range entries {
		signer, warning, err := loadKey(e.file)
		if err != nil {
			errs = append(errs, fmt.Errorf("POSTRIDER_DKIM: %s: %w", e.name(), err))
			continue
		}
		if warning != "" {
			k.Warnings = append(k.Warnings, fmt.Sprintf("POSTRIDER_DKIM: %s: %s", e.name(), warning))
		}
		k.byDomain[e.domain] = append(k.byDomain[e.domain], signingKey{e, signer})
	}
	return k, errors.Join(errs...)
}

// of lists the keys for a sender's domain: its own, or those of the nearest
// domain above it, which DMARC takes for the same (RFC 7489 §3.1.1).
func (k Keys) of(domain string) []signingKey {
	for domain != "" {
		if keys := k.byDomain[domain]; keys != nil {
			return keys
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return nil
}

// sign puts a signature by each of the sender's keys before the message. They
// are of the message alone and do not cover each other, so that a verifier
// which knows only one of two algorithms is content (RFC 8463 §3).
func (k Keys) sign(c content, fromDomain string) (content, error) {
	keys := k.of(fromDomain)
	if len(keys) == 0 {
		return c, nil
	}
	// A header that is not there is not named: forwarders may add a Reply-To.
	head, _, _ := bytes.Cut(c[0].text, []byte("\r\n\r\n"))
	named := slices.Concat(presentHeaders(head), oversignedHeaders)
	var out bytes.Buffer
	for _, key := range keys {
		signature, err := key.sign(c, named)
		if err != nil {
			return nil, fmt.Errorf("signing for %s: %w", key.name(), err)
		}
		out.WriteString(signature)
	}
	return slices.Concat(content{{text: out.Bytes()}}, c), nil
}

// sign returns the whole header field.
func (k signingKey) sign(c content, headers []string) (string, error) {
	// Not go-mail's signer: it signs what it has not folded, and so breaks every
	// signature whose list of headers is longer than a line.
	s, err := dkim.NewSigner(&dkim.SignOptions{
		Domain: k.domain, Selector: k.selector, Signer: k.signer, Hash: crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: headers,
	})
	if err != nil {
		return "", err
	}
	if err := errors.Join(c.writeTo(s), s.Close()); err != nil { // Close waits for the signer's goroutine
		return "", err
	}
	return s.Signature(), nil
}

// presentHeaders lists those of signedHeaders that the message has.
func presentHeaders(head []byte) []string {
	var out []string
	for _, name := range signedHeaders {
		for line := range bytes.Lines(head) {
			if len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(string(line[:len(name)]), name) {
				out = append(out, name)
				break
			}
		}
	}
	return out
}

// DKIM is the parsed form of POSTRIDER_DKIM.
type DKIM []dkimEntry

// dkimEntry says with which key mails of a domain are signed.
type dkimEntry struct {
	domain   string // ASCII, lower case
	selector string
	file     string
}

func (e dkimEntry) name() string { return e.domain + ":" + e.selector }

// record is the name of the DNS record with the public key (RFC 6376 §3.6.2.1).
func (e dkimEntry) record() string { return e.selector + "._domainkey." + e.domain }

// UnmarshalText reads domain:selector:keyfile entries with commas or white
// space between.
func (d *DKIM) UnmarshalText(text []byte) error {
	var out DKIM
	for i, entry := range strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		parts := strings.SplitN(entry, ":", 3)
		if len(parts) != 3 || parts[2] == "" {
			return fmt.Errorf("entry %d is not of the form domain:selector:keyfile", i+1)
		}
		domain, err := idna.Lookup.ToASCII(strings.ToLower(parts[0]))
		if err != nil || !domainPattern.MatchString(domain) {
			return fmt.Errorf("entry %d: %q is not a domain", i+1, parts[0])
		}
		selector := strings.ToLower(parts[1])
		if !domainPattern.MatchString(selector) {
			return fmt.Errorf("entry %d: %q is not a selector", i+1, parts[1])
		}
		e := dkimEntry{domain, selector, parts[2]}
		for _, other := range out {
			if other.name() == e.name() {
				return fmt.Errorf("entry %d: %s stands there twice", i+1, e.name())
			}
		}
		out = append(out, e)
	}
	*d = out
	return nil
}
