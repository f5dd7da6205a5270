package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/tasks"
)

func TestSendNotification(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs/send-notification", `{"receiverId":"42","message":"Shipped","type":"success","data":{"order":12345678901234567890}}`).want(http.StatusAccepted)
	if want := `{"message":"Notification task added to queue","id":"` + a.str("id") + `","queue":"notification","state":"queued"}` + "\n"; a.text != want {
		t.Errorf("the answer is %s want %s", a.text, want)
	}
	j := s.stored(a.str("id"))
	var n tasks.Notification
	if err := json.Unmarshal(j.Payload, &n); err != nil {
		t.Fatal(err)
	}
	if j.Recipient != "user:42" || n.Type != "success" || string(n.Data) != `{"order":12345678901234567890}` {
		t.Errorf("the job for %s is %+v", j.Recipient, n)
	}
	a = s.post("/jobs/send-notification", `{"room":"lobby","message":"m","delay":60000}`).want(http.StatusAccepted)
	if a.str("message") != "Notification scheduled to be sent in 60 seconds" {
		t.Errorf("the message is %q", a.str("message"))
	}
	if a = s.post("/jobs/send-notification", `{"everyone":true,"message":"m"}`).want(http.StatusAccepted); s.stored(a.str("id")).Recipient != "everyone" {
		t.Error("it is not for everyone")
	}
	for body, fields := range map[string][]string{
		`{"message":"m"}`: {"receiverId"},
		`{"receiverId":"1","everyone":true,"message":"m"}`:                           {"receiverId"},
		`{"receiverId":"1","message":""}`:                                            {"message"},
		`{"receiverId":"1","message":"m","type":"loud"}`:                             {"type"},
		`{"receiverId":42,"message":"m"}`:                                            {"receiverId"},
		`{"receiverId":"1","message":"m","send_at":"2999-01-01T00:00:00Z","to":"x"}`: {"to"},
		`{"receiverId":"1","message":"m","send_at":"2999-01-01T00:00:00Z"}`:          {"send_at"},
		`{"receiverId":"` + strings.Repeat("x", 200) + `","message":"m"}`:            {"receiverId"},
	} {
		a := s.post("/jobs/send-notification", body).want(http.StatusUnprocessableEntity)
		if got := slices.Sorted(maps.Keys(a.fields())); !slices.Equal(got, fields) {
			t.Errorf("%s: the fields are %v, want %v", body, got, fields)
		}
	}
}

func TestPostJob(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs", `{"type":"log:heartbeat","payload":{"message":"hi"},"queue":"default"}`).want(http.StatusAccepted)
	if a.str("message") != "Job added to queue" || a.str("queue") != "default" {
		t.Errorf("the answer is %s", a.text)
	}
	if a = s.post("/jobs", `{"type":"noop","delay":7200000}`).want(http.StatusAccepted); a.str("message") != "Job scheduled to run in 2 hours" {
		t.Errorf("the message is %q", a.str("message"))
	}
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if a = s.post("/jobs", `{"type":"noop","run_at":"`+at+`"}`).want(http.StatusAccepted); a.str("message") != "Job scheduled to run at "+a.str("run_at") {
		t.Errorf("the message is %q", a.str("message"))
	}
	for body, fields := range map[string][]string{
		`{}`:                            {"type"},
		`{"type":"nonsense"}`:           {"type"},
		`{"type":"noop","queue":"vip"}`: {"queue"},
		`{"type":"noop","run_at":"2999-01-01T00:00:00Z"}`:         {"run_at"},
		`{"type":"noop","payload":{"sleep_ms":-1}}`:               {"payload.sleep_ms"},
		`{"type":"noop","payload":{"sleep_ms":"x"}}`:              {"payload.sleep_ms"},
		`{"type":"noop","payload":{"nap":1}}`:                     {"payload.nap"},
		`{"type":"noop","payload":[1]}`:                           {"payload"},
		`{"type":"noop","queue":"vip","payload":{"sleep_ms":-1}}`: {"payload.sleep_ms", "queue"},
		`{"type":"email:send","payload":{"to":["x"],"subject":"s","text":"t","headers":{"X-A":"1\n","X-B":"2\n"}}}`: {"payload.headers.X-A", "payload.headers.X-B", "payload.to[0]"},
		`{"type":"notification:send","payload":{"receiverId":"1","type":"loud","message":"m"}}`:                     {"payload.type"},
		`{"type":"notification:send","queue":"vip","payload":{"receiverId":"1","type":"loud","message":"m"}}`:       {"payload.type", "queue"},
	} {
		a := s.post("/jobs", body).want(http.StatusUnprocessableEntity)
		if got := slices.Sorted(maps.Keys(a.fields())); !slices.Equal(got, fields) {
			t.Errorf("%s: the fields are %v, want %v", body, got, fields)
		}
	}
}

func TestEphemeralJob(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs", `{"type":"noop:ephemeral"}`).want(http.StatusAccepted)
	got := s.get("/jobs/" + a.str("id")).want(http.StatusOK)
	if got.str("type") != "noop:ephemeral" || len(s.all()) != 0 {
		t.Errorf("the job is %s", got.text)
	}
	a = s.post("/jobs", `{"type":"noop:ephemeral"}`, "Idempotency-Key", "k").want(http.StatusUnprocessableEntity)
	if a.fields()["Idempotency-Key"] == "" {
		t.Errorf("the answer is %s", a.text)
	}
	s.disp.Fail(errors.New("no route to redis.internal"))
	a = s.post("/jobs", `{"type":"noop:ephemeral"}`).want(http.StatusServiceUnavailable)
	if a.header.Get("Retry-After") != "5" || a.str("code") != "temporary" || strings.Contains(a.text, "redis.internal") {
		t.Errorf("the answer is %v %s", a.header, a.text)
	}
}

func TestBatch(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs/batch", `{"jobs":[
		{"type":"noop"},
		{"type":"nonsense"},
		{"type":"email:send","payload":{"to":["user@example.com"],"subject":"s","text":"t"},"delay":60000},
		7,
		{"type":"noop","queue":"vip","payload":{"sleep_ms":-1}},
		{"type":"noop","extra":1},
		{"type":"noop:ephemeral"},
		{"type":"log:heartbeat"}]}`).want(http.StatusAccepted)
	if a.str("message") != "4 jobs added to queue, 4 refused" || a.json["accepted"] != 4.0 || a.json["refused"] != 4.0 {
		t.Errorf("the answer is %s", a.text)
	}
	entries := a.list("jobs")
	want := []string{"noop", "type", "email:send", "body", "payload.sleep_ms,queue", "extra", "noop:ephemeral", "log:heartbeat"}
	for i, e := range entries {
		problem, refused := e["error"].(map[string]any)
		var got string
		if refused {
			got = strings.Join(slices.Sorted(maps.Keys(fieldsOf(problem))), ",")
			if problem["status"] != 422.0 || e["id"] != nil {
				t.Errorf("entry %d is %v", i, e)
			}
		} else {
			j, err := s.jobs.Find(t.Context(), jobID(t, e["id"]))
			if err != nil {
				t.Fatal(err)
			}
			got = j.Type
		}
		if got != want[i] {
			t.Errorf("entry %d is %q, want %q", i, got, want[i])
		}
	}
	if entries[2]["state"] != "scheduled" || entries[2]["run_at"] == nil || entries[0]["state"] != "queued" {
		t.Errorf("the states are wrong: %s", a.text)
	}
	s.disp.Fail(errors.New("no route to redis.internal"))
	down := s.post("/jobs/batch", `{"jobs":[{"type":"noop:ephemeral"},{"type":"noop"},{"type":"noop:ephemeral"}]}`).want(http.StatusAccepted)
	if e := down.list("jobs"); e[0]["error"].(map[string]any)["code"] != "temporary" || e[1]["id"] == nil || e[2]["error"] == nil || strings.Contains(down.text, "redis.internal") {
		t.Errorf("without Redis the answer is %s", down.text)
	}
	if n := s.log.Count("could not be served now"); n != 1 {
		t.Errorf("the log says so %d times", n)
	}
	if n := len(s.get("/jobs?batch_id=" + a.str("batch_id")).list("jobs")); n != 3 {
		t.Errorf("the batch has %d stored jobs, want 3", n)
	}
}

func TestBadBatches(t *testing.T) {
	s := serve(t)
	for body, field := range map[string]string{
		`{}`:                                 "jobs",
		`{"jobs":[]}`:                        "jobs",
		`{"jobs":{}}`:                        "jobs",
		`{"jobs":null}`:                      "jobs",
		`[]`:                                 "body",
		`{"jobs":[{}],"more":1}`:             "more",
		`{"jobs":[` + entries(10_001) + `]}`: "jobs",
	} {
		a := s.post("/jobs/batch", body).want(http.StatusUnprocessableEntity)
		if a.fields()[field] == "" {
			t.Errorf("%.60s: the fields are %v, want %s", body, a.fields(), field)
		}
	}
	s.post("/jobs/batch", `{"jobs":[{"type":"noop"}`).want(http.StatusBadRequest)
	if n := len(s.all()); n != 0 {
		t.Errorf("%d jobs were made", n)
	}
	a := s.post("/jobs/batch", `{"jobs":[{}]}`).want(http.StatusAccepted)
	if a.str("message") != "0 jobs added to queue, 1 refused" {
		t.Errorf("the message is %q", a.str("message"))
	}
}

func entries(n int) string {
	return strings.TrimSuffix(strings.Repeat(`{"type":"noop"},`, n), ",")
}

func TestBatchOfTenThousand(t *testing.T) {
	s := serve(t)
	var body strings.Builder
	body.WriteString(`{"jobs":[`)
	for i := range 10_000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"type":"email:send","payload":{"to":["user%d@example.com"],"subject":"Hello","text":"Hello."}}`, i)
	}
	body.WriteString(`]}`)
	a := s.post("/jobs/batch", body.String(), "Idempotency-Key", "all").want(http.StatusAccepted)
	jobs := a.list("jobs")
	if len(jobs) != 10_000 || a.json["accepted"] != 10_000.0 || a.str("message") != "10000 jobs added to queue" {
		t.Fatalf("%d entries, %v accepted", len(jobs), a.json["accepted"])
	}
	for _, i := range []int{0, 1, 4999, 9999} {
		if got := s.stored(jobs[i]["id"].(string)).Recipient; got != fmt.Sprintf("user%d@example.com", i) {
			t.Errorf("entry %d is for %s", i, got)
		}
	}
	again := s.post("/jobs/batch", body.String(), "Idempotency-Key", "all").want(http.StatusAccepted)
	if again.text != a.text || again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the repeated batch is answered otherwise")
	}
}

func TestIdempotency(t *testing.T) {
	s := serve(t, withKeys(t))
	writer, boss := "writer-secret-0000", "boss-secret-000000"
	for _, route := range []struct{ path, body, other string }{
		{"/jobs/send-email", shortMail, `{"email":"b@example.com","subject":"s","message":"m"}`},
		{"/jobs/schedule-email", `{"to":["a@example.com","b@example.com"],"subject":"s","text":"m","delay":5000}`, `{"email":"b@example.com","subject":"s","message":"m","delay":1}`},
		{"/jobs/send-notification", `{"everyone":true,"message":"m"}`, `{"everyone":true,"message":"n"}`},
		{"/jobs", `{"type":"noop"}`, `{"type":"noop","delay":1}`},
		{"/jobs/batch", `{"jobs":[{"type":"noop"},{"type":"bad"}]}`, `{"jobs":[{"type":"noop"}]}`},
	} {
		before := len(s.all())
		key := "key-of " + route.path
		first := s.post(route.path, route.body, "Idempotency-Key", key, "X-API-Key", writer).want(http.StatusAccepted)
		made := len(s.all()) - before
		s.store.Clock.Advance(time.Second)
		again := s.post(route.path, route.body, "Idempotency-Key", key, "X-API-Key", writer).want(http.StatusAccepted)
		if again.text != strings.ReplaceAll(first.text, first.header.Get("X-Request-Id"), again.header.Get("X-Request-Id")) {
			t.Errorf("%s: the second answer is %s, the first was %s", route.path, again.text, first.text)
		}
		if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: replay is not told rightly", route.path)
		}
		if n := len(s.all()) - before; n != made || made == 0 {
			t.Errorf("%s: %d jobs after the first, %d after the second", route.path, made, n)
		}
		a := s.post(route.path, route.other, "Idempotency-Key", key, "X-API-Key", writer).want(http.StatusConflict)
		if a.str("code") != "conflict" {
			t.Errorf("%s: the answer is %s", route.path, a.text)
		}
		// Another caller's key of the same name is another key.
		other := s.post(route.path, route.body, "Idempotency-Key", key, "X-API-Key", boss).want(http.StatusAccepted)
		if other.text == first.text {
			t.Errorf("%s: a key is not its owner's", route.path)
		}
	}
	// One key for the same body on another path is a conflict, too.
	s.post("/jobs/schedule-email", strings.TrimSuffix(shortMail, "}")+`,"delay":1}`, "Idempotency-Key", "p", "X-API-Key", writer).want(http.StatusAccepted)
	s.post("/jobs/send-email", strings.TrimSuffix(shortMail, "}")+`,"delay":1}`, "Idempotency-Key", "p", "X-API-Key", writer).want(http.StatusConflict)
	a := s.post("/jobs", `{"type":"noop"}`, "Idempotency-Key", strings.Repeat("k", 256), "X-API-Key", writer).want(http.StatusUnprocessableEntity)
	if a.fields()["Idempotency-Key"] == "" {
		t.Errorf("the answer is %s", a.text)
	}
}
