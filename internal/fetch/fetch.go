// Package fetch asks other servers for small documents: key sets, certificates,
// a yes or no. It is bounded in time and size, and goes nowhere but to the address
// that it is given, which must be one of the internet or one that the operator
// allows.
package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/postrider/postrider/internal/tlsfile"
)

// Bounds of what is fetched.
const (
	MaxBytes = 256 << 10
	MaxTime  = 10 * time.Second
)

// Config is where may be asked, and whose word is taken there.
type Config struct {
	Allow Networks `env:"POSTRIDER_FETCH_ALLOW" help:"addresses and CIDRs, with commas between, that key sets, rooms' webhooks and alerts' may be at although they are not of the internet, such as 10.0.0.0/8; those of this machine may be where the URL itself says localhost or 127.0.0.1"`
	CA    string   `env:"POSTRIDER_FETCH_CA" help:"a PEM file of authorities that are trusted beside the system's where key sets are fetched, and rooms' webhooks and alerts' are asked"`
}

// Validate reports a file that cannot be used, by its variable's name.
func (c Config) Validate() error {
	_, err := c.tls()
	return err
}

// tls is nil where nothing is said of it.
func (c Config) tls() (*tls.Config, error) {
	if c.CA == "" {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err == nil {
		err = tlsfile.AddAuthorities(roots, c.CA)
	}
	if err != nil {
		return nil, fmt.Errorf("POSTRIDER_FETCH_CA: %w", err)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// Client asks. It is safe for concurrent use and keeps no connections: documents
// are fetched far apart.
type Client struct {
	allow   Networks
	direct  http.Client // whose addresses are guarded
	proxied http.Client // by a proxy of HTTPS_PROXY, which resolves names itself
}

// New makes a Client. It errs when a file of the settings cannot be used.
func New(cfg Config) (*Client, error) { return newClient(cfg, nil) }

// newClient is New; names are the resolver's, of the system when nil.
func newClient(cfg Config, names *net.Resolver) (*Client, error) {
	config, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	c := &Client{allow: cfg.Allow}
	dialer := net.Dialer{ControlContext: c.guard, Resolver: names}
	c.direct = client(&http.Transport{DialContext: dialer.DialContext, TLSClientConfig: config})
	c.proxied = client(&http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config})
	return c, nil
}

// client follows no redirects: the address was checked, where it leads was not.
// What is compressed is not unpacked: MaxBytes bounds what came.
func client(t *http.Transport) http.Client {
	t.DisableKeepAlives, t.DisableCompression, t.ForceAttemptHTTP2 = true, true, true
	t.MaxResponseHeaderBytes = 64 << 10
	return http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Get returns the body of the answer 200 to a GET; any other answer, one of
// more than MaxBytes and one that is not complete within MaxTime is an error,
// and an address that may not be asked is ErrPrivate.
func (c *Client) Get(ctx context.Context, url string) ([]byte, error) {
	status, body, err := c.ask(ctx, http.MethodGet, url, nil, nil)
	if err == nil && status != http.StatusOK {
		return nil, fmt.Errorf("asking: the answer is %d", status)
	}
	return body, err
}

// Post sends a body and returns the status of the answer, whichever it is, and
// its body, which is bounded as Get's.
func (c *Client) Post(ctx context.Context, url string, header http.Header, body []byte) (status int, answer []byte, err error) {
	return c.ask(ctx, http.MethodPost, url, header, body)
}

func (c *Client) ask(ctx context.Context, method, url string, header http.Header, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, MaxTime, errors.New("no answer in time"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("asking: %w", withoutURL(err))
	}
	if header != nil {
		req.Header = header
	}
	asker := &c.direct
	if proxy, err := http.ProxyFromEnvironment(req); err != nil || proxy != nil {
		asker = &c.proxied
	}
	res, err := asker.Do(req.WithContext(saysLoopback(ctx, req.URL)))
	if err != nil {
		return 0, nil, fmt.Errorf("asking %s: %w", req.URL.Hostname(), withoutURL(err))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, MaxBytes+1))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(answer) > MaxBytes {
		return 0, nil, fmt.Errorf("reading the answer: it has more than %d bytes", MaxBytes)
	}
	return res.StatusCode, answer, nil
}
