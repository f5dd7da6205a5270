package app

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/internal/testkit"
)

// metrics is the process' page of that name.
func metrics(t *testing.T, base string) string {
	t.Helper()
	res, err := http.Get("http://" + base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ready asks /readyz.
func ready(t *testing.T, base string) (int, telemetry.Status) {
	t.Helper()
	var status telemetry.Status
	res, err := http.Get("http://" + base + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	get(t, base, "/readyz", &status)
	return res.StatusCode, status
}

type counts struct {
	State    string `json:"state"`
	Runs     int    `json:"runs"`
	Attempts int    `json:"attempts"`
}

// While Redis is away jobs are accepted, load balancers send more, and the
// pages say what is the matter; when it is back, empty, the jobs run.
func TestRedisAway(t *testing.T) {
	server := testkit.Redis(t)
	rdb := server.Client()
	a := boot(t, Serve, "REDIS_URL="+server.URL(), "POSTRIDER_DATA_DIR="+t.TempDir(), "SMTP_URL="+testkit.NewSMTP(t).URL())
	later := post(t, a.Addr(), "/jobs", `{"type":"noop","delay":3000}`)
	testkit.WaitFor(t, patienceInTests, "the delayed task in Redis", func() bool {
		return rdb.ZCard(t.Context(), "asynq:{default}:scheduled").Val() == 1
	})
	server.Kill()
	now := post(t, a.Addr(), "/jobs", `{"type":"noop"}`)
	if code, status := ready(t, a.Addr()); code != http.StatusOK || status.Status != "degraded" || status.Checks["redis"] == "ok" {
		t.Errorf("readyz: %d %+v, want it ready and degraded", code, status)
	}
	testkit.WaitFor(t, patienceInTests, "the metric that says so", func() bool {
		return strings.Contains(metrics(t, a.Addr()), `postrider_check_up{check="redis"} 0`)
	})
	server.Restart()
	for _, id := range []string{now.ID, later.ID} {
		testkit.WaitFor(t, patienceInTests, "a job to be done", func() bool { return stateOf(t, a.Addr(), id) == "done" })
	}
	if code, status := ready(t, a.Addr()); code != http.StatusOK || status.Status != "ok" {
		t.Errorf("readyz afterwards: %d %+v", code, status)
	}
}

// While the database is away the API says when to come again, and a job whose
// task a worker has in hand is neither lost nor charged.
func TestDatabaseAway(t *testing.T) {
	cluster, server := testkit.PostgresServer(t), testkit.Redis(t)
	rdb := server.Client()
	a := boot(t, Serve, "REDIS_URL="+server.URL(), "DATABASE_URL="+cluster.Database(), "SMTP_URL="+testkit.NewSMTP(t).URL())
	soon := post(t, a.Addr(), "/jobs", `{"type":"noop","delay":3000}`)
	testkit.WaitFor(t, patienceInTests, "the delayed task in Redis", func() bool {
		return rdb.ZCard(t.Context(), "asynq:{default}:scheduled").Val() == 1
	})
	cluster.Kill()
	res, err := http.Post("http://"+a.Addr()+"/jobs", "application/json", strings.NewReader(`{"type":"noop"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("POST /jobs: %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
	if code, status := ready(t, a.Addr()); code != http.StatusServiceUnavailable || status.Status != "failing" {
		t.Errorf("readyz: %d %+v", code, status)
	}
	testkit.WaitFor(t, patienceInTests, "the worker to have the task in hand", func() bool {
		return strings.Contains(metrics(t, a.Addr()), `postrider_claims_refused_total{reason="unavailable"}`)
	})
	cluster.Start()
	var got counts
	testkit.WaitFor(t, patienceInTests, "the job to be done", func() bool {
		res, err := http.Get("http://" + a.Addr() + "/jobs/" + soon.ID)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			get(t, a.Addr(), "/jobs/"+soon.ID, &got)
		}
		return got.State == "done"
	})
	if got.Runs != 1 || got.Attempts != 1 {
		t.Errorf("the job had %d runs and %d attempts, want one each", got.Runs, got.Attempts)
	}
}
