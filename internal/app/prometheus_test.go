package app

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.yaml.in/yaml/v3"

	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// startPrometheus runs a Prometheus that scrapes the processes each second, and
// returns its URL.
func startPrometheus(t *testing.T, targets map[string]string) string {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("this test needs the program prometheus: run `make test-deps`, or install Debian's package prometheus")
	}
	var config strings.Builder
	config.WriteString("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n")
	for job, addr := range targets {
		fmt.Fprintf(&config, "  - {job_name: %s, static_configs: [{targets: [%q]}]}\n", job, addr)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	testkit.Exec(t, nil, path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	return "http://" + addr
}

// found is how many series a query has at the moment.
func found(t *testing.T, prometheus, query string) int {
	t.Helper()
	res, err := http.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return 0 // it is not up yet
	}
	defer res.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("%s: %s %v", query, answer.Error, err)
	}
	return len(answer.Data.Result)
}

// quiet are metrics that say nothing while all is well; that they exist is what
// docs/metrics.md is held to.
var quiet = []string{
	"postrider_dead_leases_total", "postrider_jobs_redispatched_total", "postrider_lost_acks_total", "postrider_sql_failures_total",
	"postrider_redis_failures_total", "postrider_live_session_ends_total",
}

var metricName = regexp.MustCompile(`\b(postrider|asynq|go_sql|process)_[a-z_]+`)

// A real Prometheus that scrapes running processes has data for every query of
// the dashboard, and for every metric that an alert goes by; and it feeds the
// metrics page of asynqmon.
func TestPrometheus(t *testing.T) {
	smtp := testkit.NewSMTP(t)
	environ := []string{
		"DATABASE_URL=" + testkit.Postgres(t), "REDIS_URL=" + testkit.Redis(t).URL(), "SMTP_URL=" + smtp.URL(),
		"POSTRIDER_OBJECTIVES=reset=99%<30s", "POSTRIDER_RATE_LIMIT_ADDR=30000/m",
	}
	worker, scheduler := boot(t, Worker, environ...), boot(t, Scheduler, environ...)
	first := boot(t, API, environ...)
	prometheus := startPrometheus(t, map[string]string{"api": first.Addr(), "worker": worker.Addr(), "scheduler": scheduler.Addr()})
	second := boot(t, API, append(environ, "POSTRIDER_PROMETHEUS_URL="+prometheus)...)

	smtp.Once(testkit.SMTPAtRcpt, testkit.SMTPReply(451, "4.7.1 greylisted"), testkit.SMTPReply(550, "5.7.1 refused"))
	drive := func(n int) {
		post(t, first.Addr(), "/jobs/send-email", email(fmt.Sprintf("user%d@example.com", n), "Welcome!"))
		post(t, first.Addr(), "/jobs", `{"type":"noop","payload":{}}`)
		post(t, first.Addr(), "/jobs", `{"type":"noop:ephemeral","payload":{}}`)
	}
	drive(0)
	res, err := http.Post("http://"+first.Addr()+"/schedules", "application/json", strings.NewReader(`{"name":"tick","type":"noop","payload":{},"cron":"@every 5s"}`))
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("making a schedule: %v, %v", res, err)
	}
	res.Body.Close()
	n := 0
	has := func(query string) func() bool {
		return func() bool {
			if n++; n%20 == 0 {
				drive(n)
			}
			return found(t, prometheus, query) > 0
		}
	}
	for _, query := range dashboardQueries(t) {
		if slices.ContainsFunc(quiet, func(name string) bool { return strings.Contains(query, name) }) {
			found(t, prometheus, query) // that it can be asked
			continue
		}
		testkit.WaitFor(t, time.Minute, query, has(query))
	}
	for _, name := range alertMetrics(t) {
		if !slices.Contains(quiet, name) {
			testkit.WaitFor(t, time.Minute, name, has(name))
		}
	}

	// A rate is a chart only when it has been scraped twice, and a chart's last
	// point may lie some seconds back: so it is asked until it is there.
	for _, chart := range []string{"queue_size", "queue_latency_seconds", "queue_memory_usage_approx_bytes", "tasks_processed_per_second", "pending_tasks_by_queue"} {
		testkit.WaitFor(t, time.Minute, "the chart "+chart, func() bool {
			var page map[string]struct {
				Data struct {
					Result []struct{ Metric map[string]string }
				}
			}
			get(t, second.Addr(), "/admin/queues/api/metrics?duration=300&queues=email,default", &page)
			got := page[chart].Data.Result
			return len(got) == 2 && got[0].Metric["queue"] != ""
		})
	}
	tab := browser.Open(t)
	tab.Do(chromedp.Navigate("http://"+second.Addr()+"/admin/queues/q/metrics"), chromedp.EmulateViewport(1280, 1000), chromedp.WaitVisible(chromedp.CSS("path.recharts-line-curve, path.recharts-area-curve")))
	tab.Shot("asynqmon")
	if drawn := browser.Ask(tab, chromedp.Evaluate[int](`document.querySelectorAll("svg.recharts-surface").length`)); drawn < 5 {
		t.Errorf("asynqmon's page has %d charts", drawn)
	}
}

// dashboardQueries are those of Grafana's dashboard, over half a minute.
func dashboardQueries(t *testing.T) (out []string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/dashboards/postrider.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			out = append(out, strings.ReplaceAll(target.Expr, "$__rate_interval", "30s"))
		}
	}
	if len(out) < 40 {
		t.Fatalf("found %d queries", len(out))
	}
	return out
}

// alertMetrics are the metrics that alerts go by: while all is well their
// expressions are empty.
func alertMetrics(t *testing.T) (out []string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/prometheus/rules/postrider.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			out = append(out, metricName.FindAllString(r.Expr, -1)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
