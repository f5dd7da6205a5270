package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

func TestRetryBehindCanary(t *testing.T) {
	s := serve(t)
	ids := s.failed(5)
	a := s.post("/jobs/retry", `{"state":"failed","dry_run":false,"canary":2}`).want(http.StatusOK)
	if a.json["retried"] != 2.0 || a.str("next_cursor") == "" || s.stored(ids[2]).State != job.Failed {
		t.Fatalf("the canaries: %s", a.text)
	}
	rest := fmt.Sprintf(`{"state":"failed","dry_run":false,"cursor":%q}`, a.str("next_cursor"))
	if a := s.post("/jobs/retry", rest).want(http.StatusConflict); !strings.Contains(a.text, "2 of the first 2 are still under way") {
		t.Errorf("at once: %s", a.text)
	}
	s.run(ids[4], job.Succeeded("ok"))
	s.run(ids[3], job.PermanentFailure("550 still no"))
	if a := s.post("/jobs/retry", rest).want(http.StatusConflict); !strings.Contains(a.text, "1 of the first 2 did not go well again (failed, 550 still no)") {
		t.Errorf("after a failure: %s", a.text)
	}
	if s.stored(ids[2]).State != job.Failed {
		t.Error("the others were retried")
	}
	s.post("/jobs/"+ids[3]+"/retry", "").want(http.StatusOK)
	s.run(ids[3], job.Succeeded("ok"))
	if a := s.post("/jobs/retry", rest).want(http.StatusOK); a.json["retried"] != 3.0 {
		t.Errorf("the others: %s", a.text)
	}
}

func TestRetryIntoSink(t *testing.T) {
	s := serve(t)
	ids := s.failed(3)
	s.run(s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted).str("id"), job.PermanentFailure("no"))
	s.store.Clock.Advance(time.Second)
	if a := s.post("/jobs/retry", `{"state":"failed","sink":true}`).want(http.StatusOK); a.json["dry_run"] != true || a.json["matched"] != 4.0 {
		t.Errorf("a dry run: %s", a.text)
	}
	a := s.post("/jobs/retry", `{"state":"failed","sink":true,"dry_run":false}`).want(http.StatusOK)
	if a.json["retried"] != 3.0 || a.json["passed"] != 1.0 || a.str("batch_id") == "" {
		t.Fatalf("into the sink: %s", a.text)
	}
	for _, id := range ids {
		if s.stored(id).State != job.Failed {
			t.Error("a job itself was retried")
		}
	}
	copies := s.get("/jobs?batch_id=" + a.str("batch_id")).want(http.StatusOK).list("jobs")
	if len(copies) != 3 || !strings.Contains(string(s.stored(copies[0]["id"].(string)).Payload), `"sink":true`) {
		t.Errorf("the copies are %v", copies)
	}
	s.post("/jobs/retry", `{"state":"failed","sink":true,"dry_run":false,"canary":1}`).want(http.StatusUnprocessableEntity)
	s.post("/jobs/retry", `{"state":"failed","sink":true,"dry_run":false,"limit":1001}`).want(http.StatusUnprocessableEntity)
}

func TestSendIntoSink(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs/send-email", `{"to":["ann@example.com","bob@example.com"],"subject":"Hi","text":"there","sink":true}`).want(http.StatusAccepted)
	for _, j := range a.list("jobs") {
		if !s.mail(j["id"].(string)).Sink {
			t.Errorf("the mail of %v is for the world", j)
		}
	}
}
