package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/alert"
)

func TestListAlerts(t *testing.T) {
	now := time.Now()
	of := func(subject string, fired, clear time.Time) alert.Alert {
		return alert.Alert{Finding: alert.Finding{Rule: alert.QueueAge, Subject: subject, Summary: "old"}, Since: now, FiredAt: fired, ClearAt: clear}
	}
	s := serve(t, withKeys(t), func(o *Options) {
		o.Alerts = alerting{of("email", now, time.Time{}), of("bulk", now, now), of("default", time.Time{}, time.Time{})}
	})
	var got []string
	for _, a := range s.get("/alerts", "X-API-Key", "boss-secret-000000").want(http.StatusOK).list("alerts") {
		got = append(got, fmt.Sprint(a["rule"], " ", a["subject"], " ", a["state"], " ", a["fired_at"] != nil))
	}
	if want := []string{"queue_age email firing true", "queue_age bulk recovering true", "queue_age default pending false"}; !slices.Equal(got, want) {
		t.Errorf("the alerts are %q", got)
	}
	s.get("/alerts", "X-API-Key", "reader-secret-0000").want(http.StatusForbidden)
}
