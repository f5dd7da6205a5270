package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/postrider/postrider/tasks"
)

// FuzzSendEmail holds that no body makes a 5xx, and that what is accepted has
// nothing in it that could forge a header.
func FuzzSendEmail(f *testing.F) {
	for _, seed := range []string{
		shortMail, `{`, `{}`, `[]`, `null`, `{"email":null}`,
		`{"to":["Ann <a@example.com>","b@example.com"],"cc":"c@example.com","subject":"s","text":"t","html":"<p>","headers":{"X-A":"b"},"delay":1}`,
		`{"email":"a@example.com\r\nBcc: b@example.com","subject":"s","message":"m"}`,
		`{"to":[["a"]],"subject":{},"attachments":[{"name":"a","content":"aGk="}],"send_at":"2026-01-01T00:00:00Z"}`,
		`{"email":"\u0000","subject":"\ud800","message":"\ufffd","delay":1e400,"priority":"bulk","category":"x"}`,
	} {
		f.Add(seed)
	}
	shared := serve(f)
	f.Fuzz(func(t *testing.T, body string) {
		s := *shared
		s.t = t
		a := s.post("/jobs/send-email", body, "Content-Type", "application/json")
		switch a.status {
		case http.StatusAccepted:
		case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
			a.wantProblem()
			return
		default:
			t.Fatalf("the answer is %d: %s", a.status, a.text)
		}
		ids := []string{}
		if id, one := a.json["id"].(string); one {
			ids = append(ids, id)
		} else {
			for _, j := range a.list("jobs") {
				ids = append(ids, j["id"].(string))
			}
		}
		for _, id := range ids {
			var m tasks.Email
			if err := json.Unmarshal(s.stored(id).Payload, &m); err != nil {
				t.Fatal(err)
			}
			lines := append(append([]string{m.Rcpt, m.ReplyTo, m.Subject}, m.To...), m.Cc...)
			for name, value := range m.Headers {
				lines = append(lines, name, value)
			}
			for _, line := range lines {
				if strings.ContainsAny(line, "\r\n\x00") {
					t.Fatalf("%q was accepted", line)
				}
			}
		}
	})
}
