// Package fetch asks other servers for small documents: key sets, certificates,
// a yes or no. It is bounded in time and size, and goes nowhere but to the address
// that it is given.
package fetch

import (
	"bytes"
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
	status, body, err := ask(ctx, http.MethodGet, url, nil, nil)
	if err == nil && status != http.StatusOK {
		return nil, fmt.Errorf("asking: the answer is %d", status)
	}
	return body, err
}

// Post sends a body and returns the status of the answer, whichever it is, and
// its body, which is bounded as Get's.
func Post(ctx context.Context, url string, header http.Header, body []byte) (status int, answer []byte, err error) {
	return ask(ctx, http.MethodPost, url, header, body)
}

func ask(ctx context.Context, method, url string, header http.Header, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, MaxTime, errors.New("no answer in time"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("asking: %w", err)
	}
	if header != nil {
		req.Header = header
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("asking: %w", err)
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
