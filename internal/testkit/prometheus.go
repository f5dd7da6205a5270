package testkit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Prometheus is a Prometheus that belongs to one test. Its methods fail the test
// rather than return errors; call them from the test's own goroutine.
type Prometheus struct {
	URL string

	t       testing.TB
	targets string // the file that names them
}

// NewPrometheus starts a Prometheus that asks its targets for their metrics that
// often. It has none before Watch. It is killed when the test ends.
func NewPrometheus(t testing.TB, interval time.Duration) *Prometheus {
	t.Helper()
	path := program(t, "prometheus", "prometheus")
	dir := t.TempDir()
	p := &Prometheus{t: t, targets: filepath.Join(dir, "targets.json")}
	p.Watch(nil)
	config := filepath.Join(dir, "prometheus.yaml")
	text := fmt.Sprintf("global: {scrape_interval: %[1]s, scrape_timeout: %[1]s}\n"+
		"scrape_configs: [{job_name: targets, file_sd_configs: [{files: [%[2]q]}]}]\n", interval, p.targets)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	Exec(t, nil, path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+loopback(port))
	p.URL = "http://" + loopback(port)
	WaitFor(t, startLimit, "Prometheus to be ready", func() bool {
		res, err := pages.Get(p.URL + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return p
}

// Watch names the targets, host:port each, by the label job; those that it does
// not name are targets no more.
func (p *Prometheus) Watch(targets map[string][]string) {
	p.t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := []group{}
	for job, addrs := range targets {
		groups = append(groups, group{addrs, map[string]string{"job": job}})
	}
	text, err := json.Marshal(groups)
	if err != nil {
		p.t.Fatal(err)
	}
	// Prometheus reads the file whenever it changes, so it must do so at once.
	if err := os.WriteFile(p.targets+".new", text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(p.targets+".new", p.targets); err != nil {
		p.t.Fatal(err)
	}
}

// Ask returns what an instant query gives at the moment: the values of its
// series. A query that Prometheus refuses fails the test.
func (p *Prometheus) Ask(query string) []float64 {
	p.t.Helper()
	res, err := pages.Get(p.URL + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		p.t.Fatalf("asking Prometheus for %s: %v", query, err)
	}
	defer res.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any } // time, and the value as a text
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != "" {
		p.t.Fatalf("asking Prometheus for %s: %s %v", query, answer.Error, err)
	}
	var out []float64
	for _, series := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(series.Value[1]), 64)
		if err != nil {
			p.t.Fatalf("asking Prometheus for %s: %v", query, err)
		}
		out = append(out, v)
	}
	return out
}
