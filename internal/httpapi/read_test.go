package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// jobID checks that an answer's field is an id.
func jobID(t *testing.T, v any) job.ID {
	t.Helper()
	s, _ := v.(string)
	id, err := job.ParseID(s)
	if err != nil {
		t.Fatalf("%v is no id", v)
	}
	return id
}

func TestFindJob(t *testing.T) {
	s := serve(t)
	id := s.post("/jobs/schedule-email", strings.TrimSuffix(shortMail, "}")+`,"delay":10000}`).want(http.StatusAccepted).str("id")
	accepted := s.store.Clock.Now()
	a := s.get("/jobs/" + id).want(http.StatusOK)
	if a.str("state") != "scheduled" || a.str("run_at") != (stamp{accepted.Add(10 * time.Second)}).String() || a.str("created_at") != (stamp{accepted}).String() {
		t.Errorf("the job is %s", a.text)
	}
	for _, absent := range []string{"payload", "started_at", "finished_at", "expires_at", "worker", "batch_id", "code"} {
		if _, there := a.json[absent]; there {
			t.Errorf("%s is there: %s", absent, a.text)
		}
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("the answer may be cached")
	}
	s.store.Clock.Advance(time.Minute)
	if a = s.get("/jobs/" + id).want(http.StatusOK); a.str("state") != "queued" {
		t.Errorf("the state is %q", a.str("state"))
	}
	s.run(id, job.Outcome{Kind: job.OutcomeTemporary, Message: "451 try later", ReplyCode: 451, After: time.Minute})
	a = s.get("/jobs/" + id).want(http.StatusOK)
	if a.str("state") != "retrying" || a.json["attempts"] != 1.0 || a.json["runs"] != 1.0 || a.str("message") != "451 try later" || a.json["reply_code"] != 451.0 || a.str("code") != "temporary" {
		t.Errorf("the job is %s", a.text)
	}
	var kinds []string
	for _, e := range a.list("events") {
		kinds = append(kinds, e["kind"].(string))
	}
	if !slices.Equal(kinds, []string{"accepted", "started", "settled"}) {
		t.Errorf("the events are %v", kinds)
	}
	if last := a.list("events")[2]; last["worker"] != "w1" || last["run"] != 1.0 || last["state"] != "waiting" || !strings.HasSuffix(last["at"].(string), "Z") {
		t.Errorf("the last event is %v", last)
	}
	for _, unknown := range []string{"nonsense", string(job.NewID()), id + "x"} {
		if a := s.get("/jobs/" + unknown).want(http.StatusNotFound); a.str("code") != "not_found" {
			t.Errorf("the answer is %s", a.text)
		}
	}
}

func TestPayloadIsForAdmins(t *testing.T) {
	s := serve(t, withKeys(t))
	id := s.post("/jobs/send-email", shortMail, "X-API-Key", "writer-secret-0000").want(http.StatusAccepted).str("id")
	for _, path := range []string{"/jobs/" + id, "/jobs", "/jobs/" + id + "?payload=false"} {
		if a := s.get(path, "X-API-Key", "boss-secret-000000").want(http.StatusOK); strings.Contains(a.text, "Thanks for") {
			t.Errorf("%s shows the payload: %s", path, a.text)
		}
	}
	s.get("/jobs/"+id+"?payload=true", "X-API-Key", "reader-secret-0000").want(http.StatusForbidden)
	if a := s.get("/jobs/"+id+"?payload=true", "X-API-Key", "boss-secret-000000").want(http.StatusOK); !strings.Contains(a.text, "Thanks for") {
		t.Errorf("the payload is missing: %s", a.text)
	}
}

func TestListPagesHaveNoGaps(t *testing.T) {
	s := serve(t)
	var want []string
	for range 23 {
		want = append(want, s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted).str("id"))
	}
	slices.Reverse(want)
	var got []string
	path := "/jobs?limit=5"
	for range 10 {
		a := s.get(path).want(http.StatusOK)
		for _, j := range a.list("jobs") {
			got = append(got, j["id"].(string))
		}
		// What arrives and changes between two pages moves nothing.
		s.post("/jobs", `{"type":"noop"}`)
		s.call(http.MethodDelete, "/jobs/"+want[len(got)/2], "")
		next, more := a.json["next_cursor"].(string)
		if !more {
			break
		}
		path = "/jobs?limit=5&cursor=" + url.QueryEscape(next)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages hold\n%v\nwant\n%v", got, want)
	}
	if a := s.get("/jobs?limit=500").want(http.StatusOK); a.json["next_cursor"] != nil || len(a.list("jobs")) < 23 {
		t.Errorf("a page of all has a cursor: %v", a.json["next_cursor"])
	}
	if a := serve(t).get("/jobs").want(http.StatusOK); a.text != `{"jobs":[]}`+"\n" {
		t.Errorf("the empty list is %s", a.text)
	}
}

func TestListFilters(t *testing.T) {
	s := serve(t)
	mail := s.post("/jobs/send-email", shortMail).str("id")
	s.store.Clock.Advance(time.Minute)
	since := s.store.Clock.Now().Format(time.RFC3339Nano)
	later := s.post("/jobs/schedule-email", `{"email":"other@example.com","subject":"s","message":"m","delay":60000,"priority":"bulk"}`).str("id")
	note := s.post("/jobs/send-notification", `{"receiverId":"Ann@X","message":"m"}`).str("id")
	s.run(mail, job.Succeeded("250 ok"))
	for query, want := range map[string][]string{
		"":                                 {note, later, mail},
		"?state=done":                      {mail},
		"?template=welcome":                {},
		"?category=news":                   {},
		"?schedule=nightly":                {},
		"?code=permanent":                  {},
		"?until=" + since:                  {mail},
		"?state=scheduled":                 {later},
		"?state=queued":                    {note},
		"?state=waiting":                   {note, later},
		"?type=email:send":                 {later, mail},
		"?queue=bulk":                      {later},
		"?recipient=USER@example.com":      {mail},
		"?recipient=user:Ann@X":            {note},
		"?since=" + url.QueryEscape(since): {note, later},
		"?type=email:send&state=done":      {mail},
		"?recipient=none@example.com":      {},
	} {
		got := []string{}
		for _, j := range s.get("/jobs" + query).want(http.StatusOK).list("jobs") {
			got = append(got, j["id"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q finds %v, want %v", query, got, want)
		}
	}
	for query, field := range map[string]string{
		"state=nonsense": "state", "limit=0": "limit", "limit=501": "limit", "limit=x": "limit", "cursor=%25": "cursor", "cursor=YWJj": "cursor",
		"since=yesterday": "since", "batch_id=x": "batch_id", "colour=red": "colour",
	} {
		a := s.get("/jobs?" + query).want(http.StatusUnprocessableEntity)
		if a.fields()[field] == "" {
			t.Errorf("%s: the answer is %s", query, a.text)
		}
	}
}

func TestCommands(t *testing.T) {
	s := serve(t, withKeys(t))
	key := []string{"X-API-Key", "other-secret-00000"}
	fresh := func() string {
		return s.post("/jobs", `{"type":"noop","delay":60000}`, key...).want(http.StatusAccepted).str("id")
	}
	state := func(a answer) string { return a.want(http.StatusOK).str("state") }

	id := fresh()
	if got := state(s.post("/jobs/"+id+"/run", "", key...)); got != "queued" {
		t.Errorf("after run it is %s", got)
	}
	if got := state(s.call(http.MethodDelete, "/jobs/"+id, "", key...)); got != "cancelled" {
		t.Errorf("after cancel it is %s", got)
	}
	s.post("/jobs/"+id+"/run", "", key...).want(http.StatusConflict)
	if got := state(s.post("/jobs/"+id+"/retry", "", key...)); got != "queued" {
		t.Errorf("after retry it is %s", got)
	}
	s.post("/jobs/"+id+"/retry", "", key...).want(http.StatusConflict)
	s.post("/jobs/"+id+"/resolve", `{"outcome":"done"}`, key...).want(http.StatusConflict)
	s.run(id, job.Outcome{})
	if a := s.call(http.MethodDelete, "/jobs/"+id, "", key...); state(a) != "running" || a.json["cancel_requested"] != true {
		t.Errorf("the cancelled running job is %s", a.text)
	}
	events, err := s.store.Events(t.Context(), job.ID(id))
	if err != nil || events[1].Actor != "other" {
		t.Errorf("the events do not name who did it: %+v %v", events, err)
	}

	for outcome, want := range map[string]string{"done": "done", "failed": "failed", "retry": "queued"} {
		id := fresh()
		if _, err := s.store.Change(t.Context(), []job.ID{job.ID(id)}, func(j *job.Job, now time.Time) ([]job.Event, error) {
			j.State = job.Held
			return []job.Event{{Job: j.ID, At: now, Kind: job.EventDied, State: job.Held}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := state(s.post("/jobs/"+id+"/resolve", `{"outcome":"`+outcome+`"}`, key...)); got != want {
			t.Errorf("resolved as %s it is %s", outcome, got)
		}
	}
	a := s.post("/jobs/"+id+"/resolve", `{"outcome":"maybe"}`, key...).want(http.StatusUnprocessableEntity)
	if a.fields()["outcome"] == "" {
		t.Errorf("the answer is %s", a.text)
	}
	for _, call := range []struct{ method, path, body string }{
		{http.MethodDelete, "/jobs/%s", ""}, {http.MethodPost, "/jobs/%s/retry", ""}, {http.MethodPost, "/jobs/%s/run", ""},
		{http.MethodPost, "/jobs/%s/resolve", `{"outcome":"done"}`},
	} {
		for _, unknown := range []string{string(job.NewID()), "nonsense"} {
			s.call(call.method, fmt.Sprintf(call.path, unknown), call.body, key...).want(http.StatusNotFound)
		}
	}
}

// TestErrors holds the table from codes to statuses, and that nothing inner
// gets out while the log has it.
func TestErrors(t *testing.T) {
	inner := errors.New("dial tcp 10.1.2.3:5432: connection refused")
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{job.Wrap(job.CodeTemporary, inner, "the database cannot be reached"), 503, "temporary"},
		{job.Wrap(job.CodeInternal, inner, "the row was refused"), 500, "internal"},
		{job.Wrap(job.CodeAmbiguous, inner, "who knows"), 500, "internal"},
		{inner, 500, "internal"},
	} {
		s := serve(t)
		s.store.Fail("Accept", c.err)
		a := s.post("/jobs/send-email", shortMail, "X-Request-Id", "req-7").want(c.status)
		if a.str("code") != c.code || strings.Contains(a.text, "10.1.2.3") || strings.Contains(a.text, "row was") {
			t.Errorf("%v is answered with %s", c.err, a.text)
		}
		if (a.header.Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%v: Retry-After is %q", c.err, a.header.Get("Retry-After"))
		}
		if log := s.log.String(); !strings.Contains(log, "10.1.2.3") || s.log.Count("10.1.2.3") != 1 || !strings.Contains(log, "request_id=req-7") {
			t.Errorf("%v is not in the log just once with its request: %s", c.err, log)
		}
	}
}
