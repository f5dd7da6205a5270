package dashboard

import (
	"net/http"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/alert"
)

func TestAlertsPanel(t *testing.T) {
	r := newRig(t)
	bob := r.as("bob")
	bob.get(root).want(t, http.StatusOK).lacks(t, "Alerts")
	at := time.Date(2026, 11, 22, 22, 30, 0, 0, time.UTC)
	r.alerts.all = []alert.Alert{
		{Finding: alert.Finding{Rule: alert.NoWorkers, Subject: "email", Summary: "nobody <there>"}, Since: at, FiredAt: at},
		{Finding: alert.Finding{Rule: alert.Redis, Summary: "away"}, Since: at, FiredAt: at, ClearAt: at.Add(time.Hour)},
		{Finding: alert.Finding{Rule: alert.Failures, Summary: "too new"}, Since: at},
	}
	bob.get(root).want(t, http.StatusOK, "Alerts <small>2</small>", "no_workers", "nobody &lt;there&gt;", "2026-11-22 22:30:00", "recovering since", "23:30:00").lacks(t, "too new")
}
