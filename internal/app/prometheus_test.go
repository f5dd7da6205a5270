package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
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
	prometheus := testkit.NewPrometheus(t, time.Second)
	prometheus.Watch(map[string][]string{"api": {first.Addr()}, "worker": {worker.Addr()}, "scheduler": {scheduler.Addr()}})
	second := boot(t, API, append(environ, "POSTRIDER_PROMETHEUS_URL="+prometheus.URL)...)

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
			return len(prometheus.Ask(query)) > 0
		}
	}
	for _, query := range dashboardQueries(t) {
		if slices.ContainsFunc(quiet, func(name string) bool { return strings.Contains(query, name) }) {
			prometheus.Ask(query) // that it can be asked
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
