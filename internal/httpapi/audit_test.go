package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/audit/audittest"
	"github.com/postrider/postrider/internal/testkit"
)

// withAudit gives the API an audit to look into.
func withAudit(t testing.TB, m *audittest.Memory) func(*Options) {
	return func(o *Options) { o.Audit = audit.New(m, testkit.Logger(t)) }
}

// recorded is what the API's audit has, oldest first.
func recorded(s *service, query string) (out []string) {
	s.t.Helper()
	for _, r := range s.get("/audit?limit=500&"+query, "X-API-Key", "boss-secret-000000").want(http.StatusOK).list("records") {
		out = append([]string{fmt.Sprint(r["actor"], " ", r["action"], " ", r["count"], " ", r["outcome"])}, out...)
	}
	return out
}

func TestCommandsAreAudited(t *testing.T) {
	s := serve(t, withKeys(t), withSuppressions(t))
	boss := []string{"X-API-Key", "boss-secret-000000", "X-Request-Id", "request-1"}
	id := s.post("/jobs/send-email", `{"email":"a@example.com","subject":"s","message":"m","delay":100000}`, "X-API-Key", "writer-secret-0000").want(http.StatusAccepted).str("id")
	path := "/jobs/" + id
	if got := recorded(s, ""); len(got) != 0 {
		t.Errorf("the posting of a job is recorded: %q", got)
	}
	s.call(http.MethodDelete, path, "", "X-API-Key", "writer-secret-0000").want(http.StatusOK)
	s.post(path+"/run", "", boss...).want(http.StatusConflict)
	s.post(path+"/retry", "", boss...).want(http.StatusOK)
	s.post(path+"/retry", "", "X-API-Key", "reader-secret-0000").want(http.StatusForbidden)
	s.call(http.MethodDelete, path, "", boss...).want(http.StatusOK)
	s.post(path+"/resolve", `{"outcome":"done"}`, boss...).want(http.StatusConflict)
	s.post(path+"/resend", "", boss...).want(http.StatusAccepted)
	want := []string{
		"writer job.cancel 1 done", "boss job.run 0 conflict", "boss job.retry 1 done", "boss job.cancel 1 done", "boss job.resolve 0 conflict",
		"boss job.resend 1 begun", "boss job.resend 1 done",
	}
	if got := recorded(s, "target="+id); !slices.Equal(got, want) {
		t.Errorf("the audit has %q", got)
	}
	r := s.get("/audit?action=job.resolve", boss...).want(http.StatusOK).list("records")[0]
	if r["request_id"] != "request-1" || r["address"] != "192.0.2.1" || r["detail"] != "done" || r["target"] != id {
		t.Errorf("a record is %v", r)
	}

	s.call(http.MethodPut, "/suppressions/x@example.com", `{}`, boss...).want(http.StatusOK)
	s.call(http.MethodDelete, "/suppressions/x@example.com", "", boss...).want(http.StatusOK)
	s.call(http.MethodDelete, "/suppressions/x@example.com", "", boss...).want(http.StatusNotFound)
	s.call(http.MethodDelete, "/live/users/42/tokens", "", boss...).want(http.StatusNoContent)
	s.post("/jobs/retry", `{"state":"failed"}`, boss...).want(http.StatusOK)
	s.post("/jobs/retry", `{"state":"failed","dry_run":false}`, boss...).want(http.StatusOK)
	want = []string{
		"boss suppression.add 1 done", "boss suppression.remove 1 done", "boss suppression.remove 0 not_found",
		"boss token.revoke 1 begun", "boss token.revoke 1 done", "boss jobs.retry 0 done",
	}
	if got := recorded(s, "actor=boss"); !slices.Equal(got[6:], want) {
		t.Errorf("the audit has %q", got[6:])
	}
}

// What cannot be recorded first is not done.
func TestNothingIsDoneUnrecorded(t *testing.T) {
	m := &audittest.Memory{}
	m.Fail(errors.New("away"))
	s := serve(t, withAudit(t, m))
	id := s.post("/jobs/send-email", `{"email":"a@example.com","subject":"s","message":"m","delay":100000}`).want(http.StatusAccepted).str("id")
	s.post("/jobs/"+id+"/resend", "").want(http.StatusServiceUnavailable)
	s.call(http.MethodDelete, "/live/users/42/tokens", "").want(http.StatusServiceUnavailable)
	if n := len(s.all()); n != 1 {
		t.Errorf("there are %d jobs", n)
	}
}

func TestAuditPagesAndExport(t *testing.T) {
	m := &audittest.Memory{}
	s := serve(t, withKeys(t), withAudit(t, m))
	for i := range 7 {
		if err := m.Write(t.Context(), audit.Record{ID: "a", Act: audit.Act{Actor: "=1", Action: audit.Login, Count: i}, Outcome: audit.Done}); err != nil {
			t.Fatal(err)
		}
	}
	boss := []string{"X-API-Key", "boss-secret-000000"}
	seen, cursor := 0, ""
	for range 3 {
		a := s.get("/audit?limit=3"+cursor, boss...).want(http.StatusOK)
		seen += len(a.list("records"))
		next, more := a.json["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	if seen != 7 {
		t.Errorf("the pages have %d records", seen)
	}
	a := s.get("/audit/export?format=csv", boss...).want(http.StatusOK)
	if lines := strings.Split(strings.TrimSpace(a.text), "\n"); len(lines) != 8 || !strings.Contains(lines[1], ",'=1,,login,,6,done,") {
		t.Errorf("the CSV is %s", a.text)
	}
	if ct, d := a.header.Get("Content-Type"), a.header.Get("Content-Disposition"); ct != "text/csv; charset=utf-8" || !strings.Contains(d, "audit-20") {
		t.Errorf("it is served as %s, %s", ct, d)
	}
	a = s.get("/audit/export?action=login", boss...)
	if n := strings.Count(a.text, "\n"); n != 7 || a.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("it has %d lines: %s", n, a.text)
	}
	s.get("/audit?cursor=-", boss...).want(http.StatusUnprocessableEntity)
	s.get("/audit?since=yesterday", boss...).want(http.StatusUnprocessableEntity)
	for _, path := range []string{"/audit", "/audit/export"} {
		s.get(path, "X-API-Key", "reader-secret-0000").want(http.StatusForbidden)
		s.get(path).want(http.StatusUnauthorized)
	}
}
