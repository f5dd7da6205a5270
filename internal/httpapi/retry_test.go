package httpapi

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// failed makes jobs that have failed, each for a recipient of its own.
func (s *service) failed(n int) (ids []string) {
	s.t.Helper()
	for i := range n {
		body := fmt.Sprintf(`{"email":"user%d@example.com","subject":"s","message":"m"}`, i)
		id := s.post("/jobs/send-email", body).want(http.StatusAccepted).str("id")
		s.run(id, job.PermanentFailure("550 no"))
		ids = append(ids, id)
	}
	s.store.Clock.Advance(time.Second) // a count leaves out what changes at its moment
	return ids
}

func TestRetryByFilter(t *testing.T) {
	s := serve(t, withKeys(t))
	s.Handler = asBoss(s.Handler)
	ids := s.failed(25)
	s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted)

	for name, body := range map[string]string{"by default": `{"state":"failed"}`, "on demand": `{"state":"failed","dry_run":true}`} {
		a := s.post("/jobs/retry", body).want(http.StatusOK)
		if a.json["dry_run"] != true || a.json["matched"] != 25.0 || a.json["retried"] != 0.0 || len(a.list("sample")) != 10 || a.list("sample")[0]["id"] != ids[24] {
			t.Errorf("a dry run %s: %s", name, a.text)
		}
	}
	if n := len(s.disp.Withdrawn()); n != 0 || s.stored(ids[0]).State != job.Failed {
		t.Error("a dry run changed something")
	}
	for body, matched := range map[string]float64{
		`{"state":"failed","type":"noop"}`: 0, `{"state":"failed","queue":"email"}`: 25, `{"state":"failed","recipient":"USER3@example.com"}`: 1,
		`{"state":"failed","code":"permanent"}`: 25, `{"state":"failed","code":"temporary"}`: 0, `{"state":"expired"}`: 0,
		`{"state":"failed","since":"2000-01-01T00:00:00Z"}`: 25, `{"state":"failed","until":"2000-01-01T00:00:00Z"}`: 0,
	} {
		if a := s.post("/jobs/retry", body).want(http.StatusOK); a.json["matched"] != matched {
			t.Errorf("%s: the answer is %s", body, a.text)
		}
	}

	a := s.post("/jobs/retry", `{"state":"failed","dry_run":false,"limit":10}`).want(http.StatusOK)
	if a.json["retried"] != 10.0 || a.json["dry_run"] != false || a.str("next_cursor") == "" {
		t.Errorf("the first ten: %s", a.text)
	}
	if s.stored(ids[15]).State != job.Waiting || s.stored(ids[14]).State != job.Failed {
		t.Error("they are not the newest")
	}
	rest := fmt.Sprintf(`{"state":"failed","dry_run":false,"cursor":%q}`, a.str("next_cursor"))
	if a := s.post("/jobs/retry", rest).want(http.StatusOK); a.json["retried"] != 15.0 || a.json["next_cursor"] != nil {
		t.Errorf("the others: %s", a.text)
	}
	if a := s.post("/jobs/retry", rest).want(http.StatusOK); a.json["retried"] != 0.0 {
		t.Errorf("once more: %s", a.text)
	}
	events := s.get("/jobs/" + ids[0]).want(http.StatusOK).list("events")
	if last := events[len(events)-1]; last["kind"] != "retried" || last["actor"] != "boss" {
		t.Errorf("its history ends with %v", last)
	}
	if _, err := s.disp.WaitSent(t.Context(), 25+1+25); err != nil {
		t.Error(err)
	}
}

// asBoss sends every request with the key of the boss.
func asBoss(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-API-Key", "boss-secret-000000")
		next.ServeHTTP(w, r)
	})
}

func TestRetryByFilterRefuses(t *testing.T) {
	s := serve(t, withKeys(t))
	s.post("/jobs/retry", `{"state":"failed"}`, "X-API-Key", "reader-secret-0000").want(http.StatusForbidden)
	s.Handler = asBoss(s.Handler)
	for body, field := range map[string]string{
		`{}`: "state", `{"state":"held"}`: "state", `{"state":"done"}`: "state", `{"state":"failed","limit":0}`: "limit",
		`{"state":"failed","limit":100001}`: "limit", `{"state":"failed","cursor":"x"}`: "cursor", `{"state":"failed","nosuch":1}`: "nosuch",
		`{"state":"failed","code":"fine"}`: "code", `{"state":"failed","since":"yesterday"}`: "since", `{"state":"failed","type":"a\u0000"}`: "type",
		`{"state":"failed","since":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z"}`: "until",
	} {
		if a := s.post("/jobs/retry", body).want(http.StatusUnprocessableEntity); a.fields()[field] == "" {
			t.Errorf("%s: the answer is %s", body, a.text)
		}
	}
}

// TestRetryPassesOver holds that a job whose payload is gone keeps the others
// from nothing.
func TestRetryPassesOver(t *testing.T) {
	s := serve(t)
	ids := s.failed(3)
	_, err := s.store.Change(t.Context(), []job.ID{job.ID(ids[1])}, func(j *job.Job, now time.Time) ([]job.Event, error) {
		j.PayloadGone = true
		return []job.Event{{Job: j.ID, At: now, Kind: job.EventSettled, State: j.State}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	a := s.post("/jobs/retry", `{"state":"failed","dry_run":false}`).want(http.StatusOK)
	if a.json["retried"] != 2.0 || a.json["passed"] != 1.0 || a.json["matched"] != 3.0 ||
		len(a.list("refused")) != 1 || a.list("refused")[0]["reason"] != "the job's payload was deleted by retention" || a.list("refused")[0]["count"] != 1.0 {
		t.Errorf("the answer is %s", a.text)
	}
}
