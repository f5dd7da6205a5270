package httpapi

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// newRecipients are recipients on a database of their own.
func newRecipients(t testing.TB) *recipient.Service {
	t.Helper()
	url := "sqlite:" + filepath.Join(t.TempDir(), "recipients.db")
	s, err := store.Open(t.Context(), store.Config{URL: url, AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return recipient.New(recipient.Options{
		Store: s.Recipients(), Categories: mail.Categories{Names: []string{"security"}}, Log: slog.New(slog.DiscardHandler),
	})
}

// serveRecipients is an API that asks its recipients about new jobs.
func serveRecipients(t testing.TB, change ...func(*Options)) *service {
	t.Helper()
	r := newRecipients(t)
	return serveAdmitting(t, map[string]job.Admission{
		tasks.EmailSend.Name: r.Mails, tasks.NotificationSend.Name: r.Notifications,
	}, append(change, func(o *Options) { o.Preferences = r })...)
}

const calm = `{"address":"Ann <Ann@Example.com>","time_zone":"Europe/Berlin","quiet_hours":{"from":"22:00","to":"08:00"},
	"categories":{"news":"digest","offers":"off"},"digest":{"window":"weekly","at":"09:30","weekday":"friday"}}`

func TestPreferencesLife(t *testing.T) {
	s := serveRecipients(t)
	const path = "/recipients/42/preferences"
	s.get(path).want(http.StatusNotFound)
	a := s.call(http.MethodPut, path, calm).want(http.StatusOK)
	if a.str("id") != "42" || a.str("address") != "ann@example.com" || a.str("time_zone") != "Europe/Berlin" ||
		a.json["quiet_hours"].(map[string]any)["from"] != "22:00" || a.json["categories"].(map[string]any)["news"] != "digest" ||
		a.json["digest"].(map[string]any)["weekday"] != "friday" {
		t.Errorf("they are set as %s", a.text)
	}
	first := a.header.Get("ETag")
	if got := s.get(path).want(http.StatusOK); got.text != a.text || got.header.Get("ETag") != first || first == "" {
		t.Errorf("they are shown as %s %s", got.header.Get("ETag"), got.text)
	}
	// What is left out has its default.
	a = s.call(http.MethodPut, path, `{}`, "If-Match", first).want(http.StatusOK)
	if _, quiet := a.json["quiet_hours"]; quiet || a.str("time_zone") != "UTC" || len(a.json["categories"].(map[string]any)) != 0 ||
		a.json["digest"].(map[string]any)["at"] != "08:00" || a.header.Get("ETag") == first {
		t.Errorf("replaced they are %s", a.text)
	}
	if p := s.call(http.MethodPut, path, `{}`, "If-Match", first).want(http.StatusPreconditionFailed); p.str("code") != "conflict" {
		t.Errorf("the old version is answered with %s", p.text)
	}
	s.call(http.MethodPut, path, `{}`, "If-None-Match", "*").want(http.StatusPreconditionFailed)
	s.call(http.MethodDelete, path, "", "If-Match", first).want(http.StatusPreconditionFailed)
	s.call(http.MethodDelete, path, "", "If-Match", a.header.Get("ETag")).want(http.StatusNoContent)
	s.call(http.MethodDelete, path, "").want(http.StatusNotFound)
	s.call(http.MethodPut, path, `{}`, "If-None-Match", "*").want(http.StatusOK)

	a = s.call(http.MethodPut, "/recipients/Bob%40Example.COM/preferences", `{}`).want(http.StatusOK)
	if a.str("id") != "bob@example.com" || a.str("address") != "bob@example.com" {
		t.Errorf("of an address they are %s", a.text)
	}
	s.get("/recipients/bob@example.com/preferences").want(http.StatusOK)
	s.call(http.MethodPut, path, `{"address":"bob@example.com"}`).want(http.StatusConflict)
}

func TestPreferencesNameEachBadField(t *testing.T) {
	s := serveRecipients(t)
	for _, test := range []struct {
		path, body string
		fields     []string
	}{
		{"42", `{"address":"nobody","time_zone":"Mars/Base","quiet_hours":{"from":"8:00","to":"24:00"},"digest":{"at":"noon"}}`,
			[]string{"address", "time_zone", "quiet_hours.from", "quiet_hours.to", "digest.at"}},
		{"42", `{"time_zone":"Local","quiet_hours":{"from":"08:00","to":"08:00"}}`, []string{"time_zone", "quiet_hours.to"}},
		{"42", `{"categories":{"security":"off","news":"later","Öl":"on","digest":"digest","comments":"digest"}}`,
			[]string{"categories.security", "categories.news", "categories.Öl", "categories.digest", "address"}},
		{"42", `{"digest":{"window":"yearly","weekday":"someday"}}`, []string{"digest.window", "digest.weekday"}},
		{"42", `{"quiet_hours":{"from":"08:00"},"surprise":1}`, []string{"quiet_hours.to", "surprise"}},
		{"ann@example.com", `{"address":"bob@example.com"}`, []string{"address"}},
		{"ann@", `{}`, []string{"id"}},
		{strings.Repeat("x", 129), `{}`, []string{"id"}},
		{"a%0Ab", `{}`, []string{"id"}},
	} {
		got := s.call(http.MethodPut, "/recipients/"+test.path+"/preferences", test.body).want(http.StatusUnprocessableEntity).fields()
		if len(got) != len(test.fields) {
			t.Errorf("%s: bad are %v, want %q", test.body, got, test.fields)
		}
		for _, name := range test.fields {
			if got[name] == "" {
				t.Errorf("%s: %s is not named in %v", test.body, name, got)
			}
		}
	}
	for _, header := range [][]string{{"If-Match", "7"}, {"If-Match", `"x"`}, {"If-Match", `W/"7"`}, {"If-None-Match", `"7"`}, {"If-Match", `"7"`, "If-None-Match", "*"}} {
		s.call(http.MethodPut, "/recipients/42/preferences", `{}`, header...).want(http.StatusUnprocessableEntity)
	}
}

func TestPreferencesNeedTheirScope(t *testing.T) {
	s := serveRecipients(t, withKeys(t))
	const path = "/recipients/42/preferences"
	for key, want := range map[string][3]int{
		"writer-secret-0000": {200, 200, 204}, "reader-secret-0000": {403, 200, 403}, "nobody-secret-0000": {403, 403, 403},
		"boss-secret-000000": {200, 200, 204},
	} {
		if want[0] == 403 {
			s.call(http.MethodPut, path, `{}`, "X-API-Key", "boss-secret-000000").want(http.StatusOK)
		}
		for i, method := range []string{http.MethodPut, http.MethodGet, http.MethodDelete} {
			body := ""
			if method == http.MethodPut {
				body = "{}"
			}
			s.call(method, path, body, "X-API-Key", key).want(want[i])
		}
	}
}

// A mail whose category is off is accepted as suppressed, one for quiet hours
// is put off, and the answer says both.
func TestMailsAsPreferred(t *testing.T) {
	s := serveRecipients(t)
	from, to := time.Now().UTC().Add(-time.Hour), time.Now().UTC().Add(3*time.Hour)
	s.call(http.MethodPut, "/recipients/42/preferences", `{"address":"ann@example.com","categories":{"offers":"off","news":"digest"},
		"quiet_hours":{"from":"`+from.Format("15:04")+`","to":"`+to.Format("15:04")+`"}}`).want(http.StatusOK)
	send := func(more string) answer {
		t.Helper()
		return s.post("/jobs/send-email", `{"to":"Ann@Example.com","subject":"Hello","text":"Hello."`+more+`}`).want(http.StatusAccepted)
	}
	a := send(`,"category":"offers"`)
	if a.str("state") != "suppressed" || a.str("message") != "Email task accepted, and suppressed" || !strings.Contains(a.str("reason"), "preference") {
		t.Errorf("off it is answered with %s", a.text)
	}
	if j := s.stored(a.str("id")); j.State != job.Suppressed || !strings.Contains(j.Message, "preference") {
		t.Errorf("off it is %+v", j)
	}
	a = send(`,"category":"welcome"`)
	at := to.Truncate(time.Minute)
	if a.str("state") != "scheduled" || !strings.HasPrefix(a.str("run_at"), at.Format("2006-01-02T15:04:00")) ||
		a.str("message") != "Email scheduled to be sent at "+a.str("run_at") || !strings.Contains(a.str("reason"), "quiet hours") {
		t.Errorf("in quiet hours it is answered with %s", a.text)
	}
	if j := s.stored(a.str("id")); !j.RunAt.Equal(at) {
		t.Errorf("it runs at %v", j.RunAt)
	}
	a = send(`,"category":"welcome","send_at":"` + to.Add(5*time.Hour).Format(time.RFC3339) + `"`)
	if a.str("state") != "scheduled" || a.json["reason"] != nil {
		t.Errorf("after quiet hours it is answered with %s", a.text)
	}
	for _, passing := range []string{`,"category":"welcome","urgent":true`, `,"category":"security"`, ``, `,"category":"news"`} {
		if a := send(passing); a.str("state") != "queued" || a.json["reason"] != nil {
			t.Errorf("with %s it is answered with %s", passing, a.text)
		}
	}
	a = s.post("/jobs/send-email", `{"to":["ann@example.com","bob@example.com"],"subject":"Hello","text":"Hello.","category":"offers"}`).want(http.StatusAccepted)
	if jobs := a.list("jobs"); a.str("message") != "1 email tasks added to queue, 1 suppressed" || jobs[0]["state"] != "suppressed" || jobs[1]["state"] != "queued" {
		t.Errorf("two are answered with %s", a.text)
	}
	a = s.post("/jobs/send-notification", `{"receiverId":"42","message":"Hello","category":"offers"}`).want(http.StatusAccepted)
	if a.str("state") != "suppressed" {
		t.Errorf("a notification is answered with %s", a.text)
	}
	a = s.post("/jobs/send-notification", `{"receiverId":"42","message":"Hello","category":"welcome"}`).want(http.StatusAccepted)
	if a.str("state") != "queued" {
		t.Errorf("a notification in quiet hours is answered with %s", a.text)
	}
}
