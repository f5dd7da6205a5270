package mail

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxTimeout is as long as RFC 5321 §4.5.3.2.6 lets a server think about a
// message.
const maxTimeout = 10 * time.Minute

// Config is the providers to send through, and the default sender. What may
// stand in SMTP_URL is in docs/mail.md.
type Config struct {
	URL     string        `env:"SMTP_URL" secret:"true" help:"the mail server, smtp://user:password@host:port?tls=starttls|optional|none or smtps://…, with &ca=file&cert=file&key=file if need be, see docs/tls.md; several with spaces or line breaks between, see docs/mail.md"`
	From    string        `env:"MAIL_FROM" envDefault:"Postrider <postrider@localhost>" help:"the sender of mails that name none"`
	DKIM    DKIM          `env:"POSTRIDER_DKIM" help:"the private keys that mails are signed with, domain:selector:keyfile with commas between; two of one domain, Ed25519 and RSA, sign both"`
	Timeout time.Duration `env:"POSTRIDER_SMTP_TIMEOUT" envDefault:"20s" help:"the longest that sending one mail may take, all servers that are tried together; half of what is left is for connecting and logging in"`

	Secret       Secret `env:"POSTRIDER_SECRET" secret:"true" help:"signs return paths and links to unsubscribe, 32 characters at least; several with commas between while it changes: the first signs, all are known; the same for all processes"`
	BounceDomain string `env:"POSTRIDER_BOUNCE_DOMAIN" help:"the domain that bounces go to, at an address of its own for each mail; its mail must come to Postrider, see docs/feedback.md"`
}

// Validate reports every setting that cannot work, by its variable's name and
// without its value, which may hold a password. An empty SMTP_URL is fine
// here, since not every process sends: it is [New] that needs one.
func (c Config) Validate() error {
	var errs []error
	if c.URL != "" {
		if _, err := parseProviders(c.URL); err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := parseMailbox("MAIL_FROM", c.From); err != nil {
		errs = append(errs, err)
	}
	if c.Timeout <= 0 || c.Timeout > maxTimeout {
		errs = append(errs, fmt.Errorf("POSTRIDER_SMTP_TIMEOUT must be more than 0 and at most %s", maxTimeout))
	}
	errs = append(errs, c.Secret.Validate())
	switch {
	case c.BounceDomain == "":
	case !domainPattern.MatchString(strings.ToLower(c.BounceDomain)):
		errs = append(errs, errors.New("POSTRIDER_BOUNCE_DOMAIN must be a domain name"))
	case c.Secret == "":
		errs = append(errs, errors.New("POSTRIDER_BOUNCE_DOMAIN needs POSTRIDER_SECRET, which signs the addresses"))
	}
	return errors.Join(errs...)
}

// CheckFiles reports every file that cannot be used of those that a process which
// sends reads: keys of DKIM, and what providers' TLS needs.
func (c Config) CheckFiles() error {
	_, err := LoadKeys(c.DKIM)
	errs := []error{err}
	all, err := parseProviders(c.URL)
	if err != nil {
		return errors.Join(errs...) // Validate tells
	}
	for _, s := range all {
		if _, err := s.files.Config(); err != nil {
			errs = append(errs, fmt.Errorf("SMTP_URL: server %s: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}

// Providers names the servers of a valid SMTP_URL; none if it is not set.
func (c Config) Providers() []string {
	if c.URL == "" {
		return nil
	}
	all, err := parseProviders(c.URL)
	if err != nil {
		return nil // Validate tells
	}
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.name
	}
	return names
}

// Product is what readers of mails know their sender as: the name in MAIL_FROM,
// or its domain.
func (c Config) Product() string {
	from, err := parseMailbox("MAIL_FROM", c.From)
	switch {
	case err != nil: // which Validate has told
		return ""
	case from.Name != "":
		return from.Name
	}
	return domainOf(from)
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
