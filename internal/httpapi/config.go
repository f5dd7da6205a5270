package httpapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/postrider/postrider/internal/tlsfile"
)

// Config is where and for whom a process serves HTTP.
type Config struct {
	// Addr has no default here: each program has its own.
	Addr           string          `env:"POSTRIDER_HTTP_ADDR" help:"host:port to serve HTTP on; api and postrider 127.0.0.1:8080, worker :8081, scheduler :8082 when unset"`
	TLSCert        string          `env:"POSTRIDER_TLS_CERT" help:"a PEM file with the certificate, and those between it and its authority, to serve HTTPS with instead of HTTP; read anew when it changes, see docs/tls.md"`
	TLSKey         string          `env:"POSTRIDER_TLS_KEY" help:"the PEM file with its private key"`
	TLSClientCA    string          `env:"POSTRIDER_TLS_CLIENT_CA" help:"a PEM file of authorities: who connects must then show a certificate of theirs; probes and Prometheus too"`
	TLSMin         tlsfile.Version `env:"POSTRIDER_TLS_MIN" envDefault:"1.2" help:"the least version of TLS that is served: 1.2 or 1.3"`
	TrustedProxies Proxies         `env:"POSTRIDER_TRUSTED_PROXIES" help:"addresses and CIDRs of the proxies in front, with commas between; X-Forwarded-For is believed from them only"`
	PublicURL      string          `env:"POSTRIDER_PUBLIC_URL" help:"the URL under which people reach this service, such as https://post.example.com; named in the OpenAPI document, and answered to as a host even without API keys"`
	CORSOrigins    Origins         `env:"POSTRIDER_CORS_ORIGINS" help:"origins whose pages may call the API, such as https://app.example.com, with commas between; * for all"`
	WebDir         string          `env:"POSTRIDER_WEB_DIR" envDefault:"web" help:"the folder that make clients and make examples have filled: the browser's clients, and the examples that postrider dev serves"`
}

// Validate reports every setting that cannot work, by its variable's name.
func (c Config) Validate() error {
	var errs []error
	if c.Addr != "" {
		if _, port, err := net.SplitHostPort(c.Addr); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("POSTRIDER_HTTP_ADDR %q is not of the form host:port", c.Addr))
		}
	}
	if _, err := c.TLS(); err != nil {
		errs = append(errs, err)
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || !isOrigin(u) && !isOrigin(&url.URL{Scheme: u.Scheme, Host: u.Host}) || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			errs = append(errs, errors.New("POSTRIDER_PUBLIC_URL must read http://host or https://host, with a port and a path if need be and nothing else"))
		}
	}
	return errors.Join(errs...)
}

// TLS is what HTTPS is served with; nil for HTTP. It errs when a file cannot be
// used.
func (c Config) TLS() (*tls.Config, error) {
	if c.TLSCert == "" && c.TLSKey == "" {
		if c.TLSClientCA != "" {
			return nil, errors.New("POSTRIDER_TLS_CLIENT_CA needs POSTRIDER_TLS_CERT and POSTRIDER_TLS_KEY")
		}
		return nil, nil
	}
	config, err := tlsfile.Server{Cert: c.TLSCert, Key: c.TLSKey, ClientCA: c.TLSClientCA, Min: c.TLSMin}.Config()
	if err != nil {
		return nil, fmt.Errorf("POSTRIDER_TLS_CERT, POSTRIDER_TLS_KEY or POSTRIDER_TLS_CLIENT_CA: %w", err)
	}
	return config, nil
}

// CheckExposure refuses to serve an open API, one without keys, on anything
// but loopback: whoever reaches it could send mail. An empty host means all
// addresses.
func CheckExposure(addr string, open bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("reading POSTRIDER_HTTP_ADDR: %w", err)
	}
	if !open || strings.EqualFold(host, "localhost") {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("POSTRIDER_HTTP_ADDR %q can be reached from other machines, and without POSTRIDER_API_KEYS anyone there could send: set keys, or serve on 127.0.0.1", addr)
}

// Proxies is the parsed form of POSTRIDER_TRUSTED_PROXIES.
type Proxies []netip.Prefix

// UnmarshalText reads addresses and CIDRs with commas between.
func (p *Proxies) UnmarshalText(text []byte) error {
	var out Proxies
	for _, entry := range list(text) {
		prefix, err := netip.ParsePrefix(entry)
		if addr, addrErr := netip.ParseAddr(entry); addrErr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() {
			return fmt.Errorf("%q is neither an IP address nor a CIDR such as 10.0.0.0/8", entry)
		}
		out = append(out, prefix.Masked())
	}
	*p = out
	return nil
}

// Origins is the parsed form of POSTRIDER_CORS_ORIGINS.
type Origins []string

// UnmarshalText reads origins with commas between.
func (o *Origins) UnmarshalText(text []byte) error {
	var out Origins
	for _, entry := range list(text) {
		if u, err := url.Parse(entry); entry != "*" && (err != nil || !isOrigin(u)) {
			return fmt.Errorf("%q is not an origin such as https://app.example.com", entry)
		}
		out = append(out, entry)
	}
	*o = out
	return nil
}

// isOrigin reports whether u is a scheme, a host and at most a port: the
// serialised form of an origin (RFC 6454 section 6.2).
func isOrigin(u *url.URL) bool {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host}
	return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && !strings.Contains(u.Host, "*") && *u == bare
}

func list(text []byte) []string {
	var out []string
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			out = append(out, entry)
		}
	}
	return out
}
