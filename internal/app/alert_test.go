package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// The only worker is killed: somebody is told; and told again when there is one.
// Mails take the schedulers' way, since there is nobody to carry out a job.
func TestAlertOfDeadWorkers(t *testing.T) {
	type notice struct {
		Type string
		Data struct {
			Rule, Subject string
			Duration      float64 `json:"duration_seconds"`
		}
	}
	told := make(chan notice, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var n notice
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil || r.Header.Get("Webhook-Signature") == "" {
			t.Errorf("posted was %+v: %v", n, err)
		}
		told <- n
	}))
	t.Cleanup(hook.Close)
	await := func(kind string) notice {
		t.Helper()
		until := time.After(2 * time.Minute)
		for {
			select {
			case n := <-told:
				if n.Type == kind && n.Data.Rule == "no_workers" && n.Data.Subject == "email" {
					return n
				}
			case <-until:
				t.Fatalf("%s was not told", kind)
			}
		}
	}
	f := newFleet(t)
	f.environ = append(f.environ, "POSTRIDER_ALERT_WEBHOOK="+hook.URL, "POSTRIDER_ALERT_WEBHOOK_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"POSTRIDER_ALERT_MAIL=ops@example.com", "POSTRIDER_ALERT_PENDING=0s", "POSTRIDER_ALERT_HOLD=0s")
	f.api = f.start("api").Addr
	worker := f.start("worker")
	f.start("scheduler")
	f.settled(f.post(1))
	worker.Kill()
	ids := f.post(1)
	await("alert.firing")
	var now struct {
		Alerts []struct{ Rule, Subject, State string }
	}
	get(t, f.api, "/alerts", &now)
	if !slices.ContainsFunc(now.Alerts, func(a struct{ Rule, Subject, State string }) bool {
		return a.Rule == "no_workers" && a.Subject == "email" && a.State == "firing"
	}) {
		t.Errorf("the alerts are %+v", now.Alerts)
	}
	testkit.WaitFor(t, time.Minute, "the alert to be mailed", func() bool {
		return slices.ContainsFunc(f.smtp.Mails(), func(m testkit.SMTPMail) bool { return slices.Contains(m.To, "ops@example.com") })
	})
	f.start("worker")
	if n := await("alert.resolved"); n.Data.Duration <= 0 {
		t.Errorf("the recovery tells %+v", n)
	}
	if states, _ := f.settled(ids); states["done"] != 1 {
		t.Errorf("the job is %v", states)
	}
}
