package mail

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxTimeout is as long as RFC 5321 §4.5.3.2.6 lets a server think about a
// message.
const maxTimeout = 10 * time.Minute

// Config is the SMTP server to send through, and the default sender.
//
// SMTP_URL is smtp://user:password@host:port?tls=starttls|optional|none or
// smtps://user:password@host:port, user and password percent-encoded. The port
// is 587 for smtp and 465 for smtps when left out. Without tls= a STARTTLS is
// required, except to a loopback host, where it is optional. With optional a
// STARTTLS is used when offered and its certificate checked only if a password
// follows: who could forge it could as well strip the offer. Credentials never
// travel unencrypted, except to a loopback host.
type Config struct {
	URL     string        `env:"SMTP_URL" secret:"true" help:"the mail server: smtp://user:password@host:port?tls=starttls|optional|none, or smtps://…"`
	From    string        `env:"MAIL_FROM" envDefault:"Postrider <postrider@localhost>" help:"the sender of mails that name none"`
	Timeout time.Duration `env:"POSTRIDER_SMTP_TIMEOUT" envDefault:"20s" help:"the longest that one whole SMTP conversation may take"`
}

// Validate reports every setting that cannot work, by its variable's name and
// without its value, which may hold a password. An empty SMTP_URL is fine
// here, since not every process sends: it is [New] that needs one.
func (c Config) Validate() error {
	var errs []error
	if c.URL != "" {
		if _, err := parseServer(c.URL); err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := parseMailbox("MAIL_FROM", c.From); err != nil {
		errs = append(errs, err)
	}
	if c.Timeout <= 0 || c.Timeout > maxTimeout {
		errs = append(errs, fmt.Errorf("POSTRIDER_SMTP_TIMEOUT must be more than 0 and at most %s", maxTimeout))
	}
	return errors.Join(errs...)
}

// tlsMode says when a connection is encrypted.
type tlsMode int

const (
	tlsNone     tlsMode = iota
	tlsOptional         // STARTTLS if offered
	tlsRequired         // STARTTLS or nothing
	tlsImplicit         // TLS from the first byte (RFC 8314 §3)
)

// server is what SMTP_URL says.
type server struct {
	host, port     string
	user, password string
	mode           tlsMode
	loopback       bool
}

func (s server) addr() string { return net.JoinHostPort(s.host, s.port) }

// parseServer reads SMTP_URL. Its errors quote nothing of the value: a
// password with an unescaped character may turn up in any part of it.
func parseServer(raw string) (server, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return server{}, errors.New("SMTP_URL must read smtp://user:password@host:port or smtps://…; write special characters in user and password as %XX")
	}
	if strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return server{}, errors.New("SMTP_URL must have nothing after the port but ?tls=…; write / and # in user and password as %2F and %23")
	}
	s := server{host: u.Hostname(), port: u.Port(), user: u.User.Username()}
	s.password, _ = u.User.Password()
	if s.user == "" && s.password != "" {
		return server{}, errors.New("SMTP_URL has a password but no user")
	}
	if strings.ContainsAny(s.user+s.password, "\x00\r\n") {
		return server{}, errors.New("SMTP_URL must have no control characters in user and password")
	}
	if s.port != "" {
		if n, err := strconv.ParseUint(s.port, 10, 16); err != nil || n == 0 {
			return server{}, errors.New("SMTP_URL must have a port of 1 to 65535")
		}
	}
	s.loopback = isLoopback(s.host)

	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return server{}, errors.New("SMTP_URL has a malformed query; only ?tls=… may follow the port")
	}
	mode := query["tls"]
	if len(query)-min(len(mode), 1) > 0 || len(mode) > 1 {
		return server{}, errors.New("SMTP_URL has a parameter that is not known: tls is the only one, and may stand once")
	}
	switch u.Scheme {
	case "smtps":
		if len(mode) > 0 {
			return server{}, errors.New("SMTP_URL must not have tls= with smtps://, which is always encrypted")
		}
		s.mode = tlsImplicit
		s.port = orDefault(s.port, "465")
	case "smtp":
		s.port = orDefault(s.port, "587")
		if s.mode, err = startTLSMode(mode, s.loopback); err != nil {
			return server{}, err
		}
	default:
		return server{}, errors.New("SMTP_URL must begin with smtp:// or smtps://")
	}
	if s.user != "" && s.mode == tlsNone && !s.loopback {
		return server{}, errors.New("SMTP_URL has a password and tls=none: a password is sent unencrypted to a loopback host only")
	}
	return s, nil
}

func startTLSMode(values []string, loopback bool) (tlsMode, error) {
	if len(values) == 0 {
		if loopback {
			return tlsOptional, nil
		}
		return tlsRequired, nil
	}
	switch values[0] {
	case "starttls":
		return tlsRequired, nil
	case "optional":
		return tlsOptional, nil
	case "none":
		return tlsNone, nil
	default:
		return 0, errors.New("SMTP_URL must have tls=starttls, tls=optional or tls=none")
	}
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
