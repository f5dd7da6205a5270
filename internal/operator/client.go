package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/app"
	"github.com/postrider/postrider/internal/config"
)

// requestLimit bounds one request to the API.
const requestLimit = 30 * time.Second

// remote is a command that speaks to the API of a running process, which so is
// the only one that touches the data: with SQLite there can be no other.
type remote struct {
	URL  string `name:"url" placeholder:"URL" help:"The API to speak to ($POSTRIDER_URL, or http://127.0.0.1:8080)."`
	Key  string `name:"key" placeholder:"SECRET" help:"The API key's secret; better in $POSTRIDER_KEY, where other users of this machine cannot see it."`
	JSON bool   `name:"json" help:"Print what the API answers, as JSON."`
}

// ask sends a request and decodes the answer.
func (r remote) ask(c *call, method, path string, body, into any) error {
	var settings app.Client
	if _, err := config.Load(&settings, c.Environ, nil); err != nil {
		return usageError{err}
	}
	if r.URL != "" {
		settings.URL = r.URL
	}
	if r.Key != "" {
		settings.Key = r.Key
	}
	base, err := url.Parse(settings.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return usagef("%q is not the URL of an API, such as http://127.0.0.1:8080", settings.URL)
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(c.ctx, method, strings.TrimSuffix(base.String(), "/")+path, content)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if settings.Key != "" {
		req.Header.Set("Authorization", "Bearer "+settings.Key)
	}
	client := http.Client{Timeout: requestLimit, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking Postrider: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("reading Postrider's answer: %w", err)
	}
	if res.StatusCode >= 300 {
		return refusal(res, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading Postrider's answer: %w", err)
	}
	return nil
}

// refusal makes an error of a problem document (RFC 9457), or of whatever a
// proxy answered.
func refusal(res *http.Response, text []byte) error {
	var problem struct {
		Detail string `json:"detail"`
		Errors []struct {
			Field   string `json:"field"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
		return fmt.Errorf("the answer is %s", res.Status)
	}
	errs := []error{errors.New(problem.Detail)}
	for _, e := range problem.Errors {
		errs = append(errs, fmt.Errorf("  %s %s", e.Field, e.Message))
	}
	return errors.Join(errs...)
}
