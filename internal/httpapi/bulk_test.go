package httpapi

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

func TestCancelByFilter(t *testing.T) {
	s := serve(t, withKeys(t))
	s.Handler = asBoss(s.Handler)
	var ids []string
	for i := range 12 {
		ids = append(ids, s.post("/jobs/send-email", fmt.Sprintf(`{"email":"user%d@example.com","subject":"s","message":"m","category":"news","delay":60000}`, i)).want(http.StatusAccepted).str("id"))
	}
	other := s.post("/jobs/send-email", `{"email":"user@example.com","subject":"s","message":"m","delay":60000}`).want(http.StatusAccepted).str("id")
	s.store.Clock.Advance(time.Second)

	dry := s.post("/jobs/cancel", `{"state":"waiting","category":"news"}`).want(http.StatusOK)
	if dry.json["matched"] != 12.0 || dry.json["cancelled"] != 0.0 || len(dry.list("sample")) != 10 || s.stored(ids[0]).State != job.Waiting {
		t.Errorf("a dry run: %s", dry.text)
	}
	// What arrives after the count is not swept up.
	late := s.post("/jobs/send-email", `{"email":"late@example.com","subject":"s","message":"m","category":"news","delay":60000}`).want(http.StatusAccepted).str("id")
	body := fmt.Sprintf(`{"state":"waiting","category":"news","dry_run":false,"limit":7,"unchanged_since":%q}`, dry.str("unchanged_since"))
	first := s.post("/jobs/cancel", body).want(http.StatusOK)
	if first.json["cancelled"] != 7.0 || first.str("next_cursor") == "" {
		t.Errorf("the first seven: %s", first.text)
	}
	for n := range 3 { // whoever has not heard the answer begins again
		again := s.post("/jobs/cancel", body).want(http.StatusOK)
		if want := []float64{5, 0, 0}[n]; again.json["cancelled"] != want {
			t.Errorf("call %d: %s", n+2, again.text)
		}
	}
	for _, id := range ids {
		if j := s.stored(id); j.State != job.Cancelled {
			t.Errorf("%s is %s", id, j.State)
		}
	}
	if s.stored(late).State != job.Waiting || s.stored(other).State != job.Waiting {
		t.Error("a job that was not counted was cancelled")
	}
	if n := len(s.disp.Withdrawn()); n != 12 {
		t.Errorf("%d tasks were withdrawn", n)
	}
	if a := s.post("/jobs/cancel", `{"state":"failed"}`).want(http.StatusUnprocessableEntity); a.fields()["state"] == "" {
		t.Errorf("failed jobs: %s", a.text)
	}
	s.post("/jobs/cancel", `{"state":"held","batch_id":"x"}`).want(http.StatusUnprocessableEntity)
}

// TestRetryCountedOnly: a job that failed again after it was retried is not
// retried once more by a repeated request.
func TestRetryCountedOnly(t *testing.T) {
	s := serve(t)
	ids := s.failed(3)
	dry := s.post("/jobs/retry", `{"state":"failed"}`).want(http.StatusOK)
	body := fmt.Sprintf(`{"state":"failed","dry_run":false,"unchanged_since":%q}`, dry.str("unchanged_since"))
	if a := s.post("/jobs/retry", body).want(http.StatusOK); a.json["retried"] != 3.0 {
		t.Errorf("the answer is %s", a.text)
	}
	s.run(ids[1], job.PermanentFailure("550 no"))
	if a := s.post("/jobs/retry", body).want(http.StatusOK); a.json["retried"] != 0.0 || s.stored(ids[1]).State != job.Failed {
		t.Errorf("once more: %s", a.text)
	}
}
