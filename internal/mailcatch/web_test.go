package mailcatch

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, s *Server, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestJSON(t *testing.T) {
	s, addr := start(t)
	put(t, addr, "user@example.org", everything)
	put(t, addr, "other@example.org", simple("other"))

	var list struct{ Messages []listed }
	r := get(t, s, "GET", "/dev/mail/messages?to=User@example.org")
	if err := json.Unmarshal([]byte(body(t, r)), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Messages) != 1 || list.Messages[0].Subject != "Grüße aus Köln" || list.Messages[0].MessageID != "<1@example.com>" {
		t.Fatalf("got %+v", list)
	}
	var one detailed
	if err := json.Unmarshal([]byte(body(t, get(t, s, "GET", "/dev/mail/messages/"+list.Messages[0].ID))), &one); err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(one.Text) != "Grüße" || one.HTML != "<p>Grüße</p>" || one.To[0] != "user@example.org" ||
		one.Headers["Mime-Version"][0] != "1.0" || len(one.Attachments) != 2 {
		t.Errorf("got %+v", one)
	}
	if got := get(t, s, "GET", one.Attachments[0].URL); body(t, got) != "<script>" {
		t.Error("the attachment's URL does not lead to it")
	}

	etag := r.Header.Get("ETag")
	if got := get(t, s, "GET", "/dev/mail/messages", "If-None-Match", etag).StatusCode; got != http.StatusNotModified {
		t.Errorf("unchanged: got %d", got)
	}
	if got := get(t, s, "DELETE", "/dev/mail/messages").StatusCode; got != http.StatusNoContent {
		t.Errorf("delete: got %d", got)
	}
	r = get(t, s, "GET", "/dev/mail/messages", "If-None-Match", etag)
	if got := body(t, r); r.StatusCode != http.StatusOK || got != `{"messages":[]}`+"\n" {
		t.Errorf("after delete: got %d %q", r.StatusCode, got)
	}
}

func TestNotFound(t *testing.T) {
	s, addr := start(t)
	put(t, addr, "user@example.org", everything)
	for _, target := range []string{
		"/dev/mail/2", "/dev/mail/x", "/dev/mail/2/html", "/dev/mail/2/source", "/dev/mail/messages/2",
		"/dev/mail/1/attachments/0", "/dev/mail/1/attachments/3", "/dev/mail/1/attachments/-1", "/dev/mail/1/attachments/x",
		"/dev/mail/1/attachments/99999999999999999999", "/dev/mail/assets/list.html",
	} {
		if got := get(t, s, "GET", target).StatusCode; got != http.StatusNotFound {
			t.Errorf("%s: got %d", target, got)
		}
	}
}

// TestPolicies: whatever a mail holds, nothing of it may run in the page's
// origin.
func TestPolicies(t *testing.T) {
	s, addr := start(t)
	put(t, addr, "user@example.org", everything)
	for target, want := range map[string]struct{ policy, contentType, disposition string }{
		"/dev/mail":                 {"script-src 'self'; style-src 'self'", "text/html; charset=utf-8", ""},
		"/dev/mail/1":               {"script-src 'self'; style-src 'self'", "text/html; charset=utf-8", ""},
		"/dev/mail/9":               {"script-src 'self'; style-src 'self'", "text/html; charset=utf-8", ""},
		"/dev/mail/app.js":          {"sandbox", "text/javascript; charset=utf-8", ""},
		"/dev/mail/app.css":         {"sandbox", "text/css; charset=utf-8", ""},
		"/dev/mail/1/html":          {"sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'", "text/html; charset=utf-8", ""},
		"/dev/mail/1/source":        {"sandbox", "text/plain; charset=utf-8", ""},
		"/dev/mail/1/attachments/1": {"sandbox", "application/octet-stream", "attachment; filename*=utf-8''%C3%BCbel.html"},
		"/dev/mail/1/attachments/2": {"sandbox", "application/octet-stream", "attachment; filename*=utf-8''bild%20%C3%BC.png"},
		"/dev/mail/messages":        {"sandbox", "application/json", ""},
		"/dev/mail/messages/1":      {"sandbox", "application/json", ""},
	} {
		r := get(t, s, "GET", target)
		if got := r.Header.Get("Content-Security-Policy"); !strings.Contains(got, want.policy) || !strings.Contains(got, "default-src 'none'") {
			t.Errorf("%s: policy %q", target, got)
		}
		if got := r.Header.Get("Content-Type"); got != want.contentType {
			t.Errorf("%s: type %q", target, got)
		}
		if got := r.Header.Get("Content-Disposition"); got != want.disposition {
			t.Errorf("%s: disposition %q", target, got)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", target, name, got)
			}
		}
	}
}

func TestPagesEscape(t *testing.T) {
	s, addr := start(t)
	const evil = `<script>alert(1)</script>`
	put(t, addr, "user@example.org", "From: "+evil+" <a@example.com>\nSubject: "+evil+"\nX-Evil: "+evil+
		"\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n"+evil+
		"\n--b\nContent-Type: text/plain; name=\"<script>alert(1)</script>\"\nContent-Disposition: attachment\n\nx\n--b--\n")
	for _, target := range []string{"/dev/mail", "/dev/mail/1"} {
		page := body(t, get(t, s, "GET", target))
		if strings.Contains(page, evil) || !strings.Contains(page, "&lt;script&gt;") {
			t.Errorf("%s:\n%s", target, page)
		}
	}
	if page := body(t, get(t, s, "GET", "/dev/mail/1")); strings.Contains(page, "<iframe") {
		t.Error("a frame for a mail without HTML")
	}
}
