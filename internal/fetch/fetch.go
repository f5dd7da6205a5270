// Package fetch gets small documents from other servers: key sets,
// certificates. It is bounded in time and size, and goes nowhere but to the
// address that it is given.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Bounds of what is fetched.
const (
	MaxBytes = 256 << 10
	MaxTime  = 10 * time.Second
)

// client follows no redirects: the address was checked, where it leads was not.
// Documents are fetched far apart, so that no connection is worth keeping.
var client = http.Client{
	Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Get returns the body of the answer 200 to a GET; any other answer, one of
// more than MaxBytes and one that is not complete within MaxTime is an error.
// The caller has made sure that the address is one to ask.
func Get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, MaxTime, errors.New("no answer in time"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking: the answer is %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > MaxBytes {
		return nil, fmt.Errorf("reading the answer: it has more than %d bytes", MaxBytes)
	}
	return body, nil
}
