package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/tasks"
)

const shortMail = `{"email":"user@example.com","subject":"Welcome!","message":"Thanks for signing up."}`

func (s *service) mail(id string) tasks.Email {
	s.t.Helper()
	var m tasks.Email
	if err := json.Unmarshal(s.stored(id).Payload, &m); err != nil {
		s.t.Fatal(err)
	}
	return m
}

func TestSendEmailShort(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs/send-email", shortMail).want(http.StatusAccepted)
	id := a.str("id")
	if want := `{"message":"Email task added to queue","id":"` + id + `","queue":"email","state":"queued"}` + "\n"; a.text != want {
		t.Errorf("the answer is %s want %s", a.text, want)
	}
	m := s.mail(id)
	if !slices.Equal(m.To, []string{"user@example.com"}) || m.Rcpt != "user@example.com" || m.Subject != "Welcome!" || m.Text != "Thanks for signing up." {
		t.Errorf("the mail is %+v", m)
	}
	j := s.stored(id)
	if j.AcceptedBy != "anonymous" || j.Recipient != "user@example.com" || j.Batch != "" {
		t.Errorf("the job is %+v", j)
	}
}

func TestSendEmailLong(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs/send-email", `{
		"to": "Ann <Ann@Example.com>", "reply_to": "help@example.com", "subject": "Grüße", "text": "Hallo", "html": "<p>Hallo</p>",
		"headers": {"X-Campaign": "7"}, "category": "news", "priority": "bulk",
		"attachments": [{"name": "a.txt", "content_type": "text/plain", "content": "aGVsbG8="}],
		"expires_at": "`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"}`).want(http.StatusAccepted)
	if a.str("queue") != "bulk" || a.str("message") != "Email task added to queue" {
		t.Errorf("the answer is %s", a.text)
	}
	m := s.mail(a.str("id"))
	if m.Rcpt != "Ann@example.com" || m.ReplyTo != "help@example.com" || m.Subject != "Grüße" || m.HTML != "<p>Hallo</p>" ||
		m.Category != "news" || m.Headers["X-Campaign"] != "7" || string(m.Attachments[0].Content) != "hello" {
		t.Errorf("the mail is %+v", m)
	}
	if s.stored(a.str("id")).ExpiresAt.IsZero() {
		t.Error("the expiry was lost")
	}
}

func TestSeveralRecipients(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs/send-email", `{
		"to": ["Ann <ann@example.com>", "bob@example.com", "ANN@example.com"], "cc": "carl@example.com",
		"subject": "All", "text": "Hello"}`).want(http.StatusAccepted)
	if a.str("message") != "3 email tasks added to queue" {
		t.Errorf("the message is %q", a.str("message"))
	}
	batch, jobs := a.str("batch_id"), a.list("jobs")
	var recipients []string
	for _, j := range jobs {
		if j["queue"] != "email" || j["state"] != "queued" {
			t.Errorf("a job is answered as %v", j)
		}
		id, recipient := j["id"].(string), j["recipient"].(string)
		recipients = append(recipients, recipient)
		m := s.mail(id)
		if len(m.To) != 3 || len(m.Cc) != 1 || strings.ToLower(m.Rcpt) != recipient {
			t.Errorf("the mail to %s is %+v", recipient, m)
		}
		if string(s.stored(id).Batch) != batch {
			t.Errorf("the job %s is not of the batch", id)
		}
	}
	if !slices.Equal(recipients, []string{"ann@example.com", "bob@example.com", "carl@example.com"}) {
		t.Errorf("the recipients are %v", recipients)
	}
	later := s.post("/jobs/schedule-email", `{"to":["a@example.com","b@example.com"],"subject":"s","text":"t","delay":10000}`).want(http.StatusAccepted)
	if later.str("message") != "2 emails scheduled to be sent in 10 seconds" || later.list("jobs")[1]["run_at"] == nil {
		t.Errorf("the answer is %s", later.text)
	}
}

func TestAllOrNothing(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs/send-email", `{"to":["ann@example.com","not an address"],"subject":"s","text":"t"}`).want(http.StatusUnprocessableEntity)
	if got := a.fields(); len(got) != 1 || got["to[1]"] != "is not a mail address" {
		t.Errorf("the fields are %v", got)
	}
	if n := len(s.all()); n != 0 {
		t.Errorf("%d jobs were made", n)
	}
}

func TestScheduleEmail(t *testing.T) {
	s := serve(t)
	body := func(more string) string { return strings.TrimSuffix(shortMail, "}") + "," + more + "}" }
	a := s.post("/jobs/schedule-email", body(`"delay":10000`)).want(http.StatusAccepted)
	at := s.store.Clock.Now().Add(10 * time.Second).Format("2006-01-02T15:04:05.000Z")
	want := `{"message":"Email scheduled to be sent in 10 seconds","id":"` + a.str("id") + `","queue":"email","state":"scheduled","run_at":"` + at + `"}` + "\n"
	if a.text != want {
		t.Errorf("the answer is %s want %s", a.text, want)
	}

	at = time.Now().Add(time.Hour).In(time.FixedZone("", 3600)).Format(time.RFC3339)
	a = s.post("/jobs/schedule-email", body(`"send_at":"`+at+`"`)).want(http.StatusAccepted)
	if want := "Email scheduled to be sent at " + a.str("run_at"); a.str("message") != want || !strings.HasSuffix(want, ".000Z") {
		t.Errorf("the message is %q, want %q", a.str("message"), want)
	}
	a = s.post("/jobs/send-email", body(`"delay":1500`)).want(http.StatusAccepted)
	if a.str("message") != "Email scheduled to be sent in 1.5 seconds" {
		t.Errorf("the message is %q", a.str("message"))
	}
	a = s.post("/jobs/schedule-email", body(`"delay":0`)).want(http.StatusAccepted)
	if a.str("message") != "Email task added to queue" || a.str("state") != "queued" {
		t.Errorf("a delay of 0 is answered with %s", a.text)
	}
	a = s.post("/jobs/schedule-email", shortMail).want(http.StatusUnprocessableEntity)
	if a.fields()["delay"] == "" {
		t.Errorf("a mail that is never to be sent is answered with %s", a.text)
	}
}

func TestSpoken(t *testing.T) {
	for ms, want := range map[int64]string{
		1: "1 millisecond", 500: "500 milliseconds", 1000: "1 second", 1500: "1.5 seconds", 2000: "2 seconds",
		10_000: "10 seconds", 90_000: "90 seconds", 119_000: "119 seconds", 120_000: "2 minutes", 150_000: "2.5 minutes",
		3_600_000: "60 minutes", 7_200_000: "2 hours", 36 * 3_600_000: "36 hours", 60 * 3_600_000: "2.5 days", 366 * 86_400_000: "366 days",
	} {
		if got := spoken(milliseconds(&ms)); got != want {
			t.Errorf("%d ms is %q, want %q", ms, got, want)
		}
	}
}

// TestBadMails holds that every bad field is named as the request names it.
func TestBadMails(t *testing.T) {
	long := strings.Repeat("x", 2001)
	many := `"` + strings.Join(slices.Repeat([]string{"a@example.com"}, 101), `","`) + `"`
	for name, c := range map[string]struct {
		body   string
		fields []string
	}{
		"nothing":               {`{}`, []string{"email", "message", "subject"}},
		"only a subject":        {`{"subject":"s"}`, []string{"email", "message"}},
		"empty short form":      {`{"email":"","subject":"","message":""}`, []string{"email", "message", "subject"}},
		"bad address":           {`{"email":"nobody","subject":"s","message":"m"}`, []string{"email"}},
		"line break in address": {`{"email":"a@example.com\r\nBcc: b@example.com","subject":"s","message":"m"}`, []string{"email"}},
		"line break in subject": {`{"email":"a@example.com","subject":"s\r\nBcc: b@example.com","message":"m"}`, []string{"subject"}},
		"line break in header":  {`{"email":"a@example.com","subject":"s","message":"m","headers":{"X-A":"1\r\nBcc: b@example.com"}}`, []string{"headers.X-A"}},
		"header name":           {`{"email":"a@example.com","subject":"s","message":"m","headers":{"X A":"1"}}`, []string{"headers.X A"}},
		"own header":            {`{"email":"a@example.com","subject":"s","message":"m","headers":{"bcc":"b@example.com"}}`, []string{"headers.bcc"}},
		"header of a number":    {`{"email":"a@example.com","subject":"s","message":"m","headers":{"X-A":1}}`, []string{"headers.X-A"}},
		"reply_to":              {`{"email":"a@example.com","subject":"s","message":"m","reply_to":"x"}`, []string{"reply_to"}},
		"long subject":          {`{"email":"a@example.com","subject":"` + long + `","message":"m"}`, []string{"subject"}},
		"no text":               {`{"to":"a@example.com","subject":"s"}`, []string{"text"}},
		"both names":            {`{"email":"a@example.com","to":"b@example.com","subject":"s","message":"m","text":"t"}`, []string{"email", "message"}},
		"several at once":       {`{"to":["x","b@example.com"],"cc":["y"],"subject":"s\n","text":"t","category":"Ä"}`, []string{"category", "cc[0]", "subject", "to[0]"}},
		"unknown fields":        {`{"email":"a@example.com","subject":"s","message":"m","tempalte":"t","date":{}}`, []string{"date", "tempalte"}},
		"wrong types":           {`{"email":1,"subject":2,"message":[],"delay":"10","headers":[]}`, []string{"delay", "email", "headers", "message", "subject"}},
		"to of numbers":         {`{"to":[1],"subject":"s","text":"t"}`, []string{"to"}},
		"to of nothing":         {`{"to":[],"subject":"s","text":"t"}`, []string{"email"}},
		"too many":              {`{"to":[` + many + `],"subject":"s","text":"t"}`, []string{"to"}},
		"negative delay":        {`{"email":"a@example.com","subject":"s","message":"m","delay":-1}`, []string{"delay"}},
		"delay of a fraction":   {`{"email":"a@example.com","subject":"s","message":"m","delay":1.5}`, []string{"delay"}},
		"delay as a power":      {`{"email":"a@example.com","subject":"s","message":"m","delay":1e3}`, []string{"delay"}},
		"delay of ages":         {`{"email":"a@example.com","subject":"s","message":"m","delay":9223372036854775807}`, []string{"delay"}},
		"delay and send_at":     {`{"email":"a@example.com","subject":"s","message":"m","delay":1,"send_at":"2026-01-01T00:00:00Z"}`, []string{"delay"}},
		"send_at of ages":       {`{"email":"a@example.com","subject":"s","message":"m","send_at":"2999-01-01T00:00:00Z"}`, []string{"send_at"}},
		"send_at of no time":    {`{"email":"a@example.com","subject":"s","message":"m","send_at":"tomorrow"}`, []string{"send_at"}},
		"expired":               {`{"email":"a@example.com","subject":"s","message":"m","expires_at":"2020-01-01T00:00:00Z"}`, []string{"expires_at"}},
		"priority":              {`{"email":"a@example.com","subject":"s","message":"m","priority":"high"}`, []string{"priority"}},
		"attachment":            {`{"email":"a@example.com","subject":"s","message":"m","attachments":[{"name":"a/b","content":"aGk="},{"name":"c","content":"%%"}]}`, []string{"attachments[1].content"}},
		"attachment's name":     {`{"email":"a@example.com","subject":"s","message":"m","attachments":[{"name":"a/b","content":"aGk="}]}`, []string{"attachments[0].name"}},
		"attachment of half":    {`{"email":"a@example.com","subject":"s","message":"m","attachments":[{"name":""}]}`, []string{"attachments[0].content", "attachments[0].name"}},
		"base64 of a bad form":  {`{"email":"a@example.com","subject":"s","message":"m","attachments":[{"name":"a","content":"aGk"}]}`, []string{"attachments[0].content"}},
		"an array":              {`[1]`, []string{"body"}},
		"a null":                {`null`, []string{"body"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			a := s.post("/jobs/send-email", c.body).want(http.StatusUnprocessableEntity)
			if got := slices.Sorted(maps.Keys(a.fields())); !slices.Equal(got, c.fields) {
				t.Errorf("the fields are %v, want %v: %s", got, c.fields, a.text)
			}
			if len(s.all()) != 0 {
				t.Error("a job was made")
			}
			if strings.Contains(a.text, "expected required") || strings.Contains(a.text, "tasks.") || strings.Contains(a.text, "httpapi") {
				t.Errorf("inner words: %s", a.text)
			}
		})
	}
}

func TestMailOfManyTooLarge(t *testing.T) {
	s := serve(t)
	to := make([]string, 50)
	for i := range to {
		to[i] = fmt.Sprintf("u%d@example.com", i)
	}
	raw, err := json.Marshal(map[string]any{"to": to, "subject": "s", "text": strings.Repeat("x", 500_000)})
	if err != nil {
		t.Fatal(err)
	}
	a := s.post("/jobs/send-email", string(raw)).want(http.StatusUnprocessableEntity)
	if a.fields()["to"] == "" {
		t.Errorf("the fields are %v", a.fields())
	}
}

// TestOnePersonOnce: an address is one in whatever form it is written.
func TestOnePersonOnce(t *testing.T) {
	s := serve(t)
	a := s.post("/jobs/send-email", `{"to":["ann@bücher.example","Ann@XN--BCHER-KVA.example","bob@example.com"],"subject":"s","text":"t"}`).want(http.StatusAccepted)
	if got := a.list("jobs"); len(got) != 2 || got[0]["recipient"] != "ann@xn--bcher-kva.example" {
		t.Errorf("the jobs are %v", got)
	}
}
