package httpapi

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// withTimetable gives the API a timetable on a database of its own; its jobs
// are those of the API.
func withTimetable(t testing.TB) func(*Options) {
	return func(o *Options) {
		o.Schedules = timetable(t, o)
	}
}

func timetable(t testing.TB, o *Options) *schedule.Service {
	t.Helper()
	url := "sqlite:" + filepath.Join(t.TempDir(), "timetable.db")
	s, err := store.Open(t.Context(), store.Config{URL: url, AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return schedule.New(schedule.Options{Store: s.Schedules(), Jobs: o.Jobs, Log: o.Log, Metrics: prometheus.NewRegistry()})
}

const report = `{"name":"report","type":"log:heartbeat","payload":{"message":"hi"},"cron":"30 8 * * *","time_zone":"Europe/Berlin"}`

func TestScheduleLife(t *testing.T) {
	s := serve(t, withTimetable(t))
	a := s.post("/schedules", report).want(http.StatusCreated)
	if a.header.Get("Location") != "/schedules/report" || a.str("missed") != "once" || a.str("overlap") != "allow" || a.str("source") != "api" || a.json["paused"] != false {
		t.Errorf("it is created as %s at %s", a.text, a.header.Get("Location"))
	}
	slots, _ := a.json["next_slots"].([]any)
	berlin, _ := time.LoadLocation("Europe/Berlin")
	for i, slot := range slots {
		at, err := time.Parse(time.RFC3339, slot.(string))
		if err != nil || at.In(berlin).Format("15:04") != "08:30" || at.Before(time.Now()) {
			t.Errorf("slot %d is %v", i, slot)
		}
	}
	if len(slots) != 5 {
		t.Errorf("there are %d next slots", len(slots))
	}
	if got := s.get("/schedules/report").want(http.StatusOK); got.text != a.text {
		t.Errorf("it is shown as %s, was created as %s", got.text, a.text)
	}
	s.post("/schedules", report).want(http.StatusConflict)

	a = s.post("/schedules/report/pause", "").want(http.StatusOK)
	if a.json["paused"] != true || len(a.json["next_slots"].([]any)) != 0 {
		t.Errorf("paused it is %s", a.text)
	}
	a = s.call(http.MethodPut, "/schedules/report", `{"type":"noop","cron":"@every 90s","missed":"all","missed_limit":3,"overlap":"skip"}`).want(http.StatusOK)
	if a.json["paused"] != true || a.str("type") != "noop" || a.str("time_zone") != "UTC" || a.json["missed_limit"] != 3.0 || a.str("overlap") != "skip" {
		t.Errorf("replaced it is %s", a.text)
	}
	if _, named := s.call(http.MethodPut, "/schedules/report", report[:9]+"r"+report[9:]).want(http.StatusUnprocessableEntity).fields()["name"]; !named {
		t.Error("another name than the path's is not named")
	}
	a = s.post("/schedules/report/resume", "").want(http.StatusOK)
	if a.json["paused"] != false || len(a.json["next_slots"].([]any)) != 5 {
		t.Errorf("resumed it is %s", a.text)
	}
	s.call(http.MethodPut, "/schedules/other", `{"type":"noop","cron":"@daily","paused":true}`).want(http.StatusOK)
	if all := s.get("/schedules").want(http.StatusOK).list("schedules"); len(all) != 2 || all[0]["name"] != "other" || all[1]["name"] != "report" {
		t.Errorf("the list is %v", all)
	}

	if a := s.call(http.MethodDelete, "/schedules/report", "").want(http.StatusNoContent); a.text != "" {
		t.Errorf("deleting is answered with %q", a.text)
	}
	for _, request := range []struct{ method, path string }{
		{http.MethodGet, "/schedules/report"}, {http.MethodDelete, "/schedules/report"}, {http.MethodPost, "/schedules/report/pause"},
		{http.MethodPost, "/schedules/report/resume"}, {http.MethodPost, "/schedules/report/run"}, {http.MethodGet, "/schedules/report/runs"},
		{http.MethodGet, "/schedules/%00"}, {http.MethodPost, "/schedules/%ff/pause"}, {http.MethodDelete, "/schedules/a%2Fb"},
	} {
		s.call(request.method, request.path, "").want(http.StatusNotFound)
	}
}

// Of two who change what they both saw, the later one is told.
func TestScheduleIfMatch(t *testing.T) {
	s := serve(t, withTimetable(t))
	seen := s.post("/schedules", report).want(http.StatusCreated).header.Get("ETag")
	if again := s.get("/schedules/report").want(http.StatusOK).header.Get("ETag"); again != seen || seen == "" {
		t.Fatalf("it is created with the tag %q and shown with %q", seen, again)
	}
	put := func(cron, tag string) answer {
		t.Helper()
		return s.call(http.MethodPut, "/schedules/report", `{"type":"noop","cron":"`+cron+`"}`, "If-Match", tag)
	}
	second := put("@hourly", seen).want(http.StatusOK).header.Get("ETag")
	if second == seen {
		t.Error("the change has the same tag")
	}
	if a := put("@daily", seen).want(http.StatusPreconditionFailed); a.str("code") != "conflict" || !strings.Contains(a.str("detail"), "changed meanwhile") {
		t.Errorf("the later one is told %s", a.text)
	}
	paused := s.post("/schedules/report/pause", "").want(http.StatusOK).header.Get("ETag")
	put("@daily", second).want(http.StatusPreconditionFailed)
	put("@daily", paused).want(http.StatusOK)
	for _, bad := range []string{"*", "x", `"?"`, `W/"1"`, `"-1"`, seen + ", " + second} {
		if _, named := put("@daily", bad).want(http.StatusUnprocessableEntity).fields()["If-Match"]; !named {
			t.Errorf("the tag %s is not named", bad)
		}
	}
	s.call(http.MethodDelete, "/schedules/report", "").want(http.StatusNoContent)
	put("@daily", paused).want(http.StatusPreconditionFailed)
	s.get("/schedules/report").want(http.StatusNotFound)
}

func TestScheduleRunByHand(t *testing.T) {
	s := serve(t, withTimetable(t))
	s.post("/schedules", report).want(http.StatusCreated)
	s.post("/schedules/report/pause", "").want(http.StatusOK)
	first := s.post("/schedules/report/run", "", "Idempotency-Key", "k").want(http.StatusAccepted)
	again := s.post("/schedules/report/run", "", "Idempotency-Key", "k").want(http.StatusAccepted)
	if again.str("id") != first.str("id") || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeat is answered with %s", again.text)
	}
	if j := s.stored(first.str("id")); j.Type != "log:heartbeat" || string(j.Payload) != `{"message":"hi"}` || j.State != job.Waiting {
		t.Errorf("the job is %+v", j)
	}
	s.call(http.MethodPut, "/schedules/other", `{"type":"noop","cron":"@daily"}`).want(http.StatusOK)
	s.post("/schedules/other/run", "", "Idempotency-Key", "k").want(http.StatusConflict)
	second := s.post("/schedules/report/run", "").want(http.StatusAccepted)

	page := s.get("/schedules/report/runs?limit=1").want(http.StatusOK)
	if runs := page.list("runs"); len(runs) != 1 || runs[0]["job_id"] != second.str("id") || runs[0]["slot"] != nil || runs[0]["actor"] != "anonymous" || runs[0]["outcome"] != "fired" {
		t.Errorf("the first page is %s", page.text)
	}
	page = s.get("/schedules/report/runs?limit=1&cursor=" + page.str("next_cursor")).want(http.StatusOK)
	if runs := page.list("runs"); len(runs) != 1 || runs[0]["job_id"] != first.str("id") || page.json["next_cursor"] != nil {
		t.Errorf("the second page is %s", page.text)
	}
	if a := s.get("/schedules/report").want(http.StatusOK); a.str("last_job_id") != second.str("id") || a.str("last_run_at") == "" {
		t.Errorf("it is shown as %s", a.text)
	}
	for _, cursor := range []string{"x", "LTE", "MA"} { // no base64, -1, 0
		if _, named := s.get("/schedules/report/runs?cursor=" + cursor).want(http.StatusUnprocessableEntity).fields()["cursor"]; !named {
			t.Errorf("the cursor %s is not named", cursor)
		}
	}
}

func TestScheduleRefusals(t *testing.T) {
	s := serve(t, withTimetable(t))
	for _, test := range []struct {
		body  string
		field string
	}{
		{strings.Replace(report, `"report"`, `"Report"`, 1), "name"},
		{strings.Replace(report, `"report"`, `"a/b"`, 1), "name"},
		{strings.Replace(report, `"report"`, `"`+strings.Repeat("a", 101)+`"`, 1), "name"},
		{strings.Replace(report, "30 8", "61 8", 1), "cron"},
		{strings.Replace(report, "30 8 * * *", "0 0 30 2 *", 1), "cron"},
		{strings.Replace(report, "30 8 * * *", "CRON_TZ=UTC 30 8 * * *", 1), "cron"},
		{strings.Replace(report, "Europe/Berlin", "Europe/Bielefeld", 1), "time_zone"},
		{strings.Replace(report, "log:heartbeat", "log:nothing", 1), "type"},
		{strings.Replace(report, `"log:heartbeat","payload":{"message":"hi"}`, `"noop:ephemeral"`, 1), "type"},
		{strings.Replace(report, `"message"`, `"massage"`, 1), "payload.massage"},
		{strings.Replace(report, `"cron"`, `"queue":"nowhere","cron"`, 1), "queue"},
		{strings.Replace(report, `"cron"`, `"missed":"never","cron"`, 1), "missed"},
		{strings.Replace(report, `"cron"`, `"missed_limit":101,"cron"`, 1), "missed_limit"},
		{strings.Replace(report, `"cron"`, `"overlap":"maybe","cron"`, 1), "overlap"},
		{strings.Replace(report, `"cron"`, `"colour":"red","cron"`, 1), "colour"},
		{`{"name":"x","type":"noop"}`, "cron"},
	} {
		fields := s.post("/schedules", test.body).want(http.StatusUnprocessableEntity).fields()
		if _, named := fields[test.field]; !named || len(fields) != 1 {
			t.Errorf("%s: the fields are %v, want %s", test.body, fields, test.field)
		}
	}
	s.post("/schedules", `{`).want(http.StatusBadRequest)
	if all := s.get("/schedules").want(http.StatusOK).list("schedules"); len(all) != 0 {
		t.Errorf("there are schedules: %v", all)
	}
}

// TestScheduleScopes has keys that may read, change or neither.
func TestScheduleScopes(t *testing.T) {
	s := serve(t, withTimetable(t), withKeys(t), func(o *Options) {
		var keys auth.APIKeys
		if err := keys.UnmarshalText([]byte("reader:reader-secret-0000:jobs:read,planner:planner-secret-000:schedules:write,writer:writer-secret-0000:jobs:write")); err != nil {
			t.Fatal(err)
		}
		o.Keys = auth.NewKeys(auth.Config{APIKeys: keys})
	})
	reader, planner, writer := []string{"X-API-Key", "reader-secret-0000"}, []string{"X-API-Key", "planner-secret-000"}, []string{"X-API-Key", "writer-secret-0000"}
	s.post("/schedules", report).want(http.StatusUnauthorized)
	for _, key := range [][]string{reader, writer} {
		s.post("/schedules", report, key...).want(http.StatusForbidden)
		s.post("/schedules/report/run", "", key...).want(http.StatusForbidden)
		s.call(http.MethodDelete, "/schedules/report", "", key...).want(http.StatusForbidden)
	}
	s.post("/schedules", report, planner...).want(http.StatusCreated)
	for _, path := range []string{"/schedules", "/schedules/report", "/schedules/report/runs"} {
		if a := s.get(path, reader...).want(http.StatusOK); strings.Contains(a.text, "payload") {
			t.Errorf("%s shows a payload to a reader: %s", path, a.text)
		}
		s.get(path, planner...).want(http.StatusOK)
		if a := s.get(path, writer...).want(http.StatusForbidden); !strings.Contains(a.text, "jobs:read or schedules:write") {
			t.Errorf("%s is refused with %s", path, a.text)
		}
	}
	if a := s.get("/schedules/report", planner...); !strings.Contains(a.text, `"payload":{"message":"hi"}`) {
		t.Errorf("who may change it does not see its payload: %s", a.text)
	}
	if a := s.post("/schedules/report/run", "", planner...).want(http.StatusAccepted); s.stored(a.str("id")).AcceptedBy != "planner" {
		t.Errorf("the job is not the planner's")
	}
}

// TestScheduleOfTheTimetable cannot be deleted, becomes the API's when it is
// changed, and comes back as it was.
func TestScheduleOfTheTimetable(t *testing.T) {
	var times *schedule.Service
	s := serve(t, func(o *Options) { times = timetable(t, o); o.Schedules = times })
	seed := func() {
		t.Helper()
		seeds, err := schedule.Seeds(schedule.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := times.Seed(t.Context(), seeds); err != nil {
			t.Fatal(err)
		}
	}
	seed()
	if a := s.call(http.MethodDelete, "/schedules/heartbeat", "").want(http.StatusConflict); !strings.Contains(a.text, "pause it instead") {
		t.Errorf("deleting is refused with %s", a.text)
	}
	s.call(http.MethodPut, "/schedules/heartbeat", `{"type":"log:heartbeat","cron":"*/5 * * * *"}`).want(http.StatusOK)
	seed()
	if a := s.get("/schedules/heartbeat").want(http.StatusOK); a.str("source") != "api" || a.str("cron") != "*/5 * * * *" {
		t.Errorf("the seed overrode it: %s", a.text)
	}
	s.call(http.MethodDelete, "/schedules/heartbeat", "").want(http.StatusNoContent)
	seed()
	if a := s.get("/schedules/heartbeat").want(http.StatusOK); a.str("source") != "builtin" || a.str("cron") != "* * * * *" {
		t.Errorf("the seed did not come back: %s", a.text)
	}
}
