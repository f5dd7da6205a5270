package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

func TestWaitForAJob(t *testing.T) {
	s := serve(t)
	id := s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted).str("id")
	if a := s.get("/jobs/" + id + "?wait=1ms").want(http.StatusOK); a.str("state") != "queued" {
		t.Errorf("when the time is over: %s", a.text)
	}

	waiting := make(chan answer, 1)
	began := time.Now()
	go func() { waiting <- s.get("/jobs/" + id + "?wait=60s") }()
	s.awaitFollowers(1)
	s.run(id, job.Outcome{Kind: job.OutcomeRateLimited, After: time.Nanosecond})
	s.store.Clock.Advance(time.Minute)
	s.run(id, job.PermanentFailure("550 no"))
	a := (<-waiting).want(http.StatusOK)
	if a.str("state") != "failed" || len(a.list("events")) != 5 || time.Since(began) > 50*time.Second {
		t.Errorf("after %v: %s", time.Since(began), a.text)
	}
	s.awaitFollowers(0)

	// What is over is answered at once, and nobody follows for it.
	if a := s.get("/jobs/" + id + "?wait=60s").want(http.StatusOK); a.str("state") != "failed" {
		t.Errorf("at once: %s", a.text)
	}
	s.get("/jobs/" + string(job.NewID()) + "?wait=60s").want(http.StatusNotFound)
	for _, wait := range []string{"61s", "-1s", "10", "soon", "1h"} {
		if a := s.get("/jobs/" + id + "?wait=" + wait).want(http.StatusUnprocessableEntity); a.fields()["wait"] == "" {
			t.Errorf("%s: the answer is %s", wait, a.text)
		}
	}
}
