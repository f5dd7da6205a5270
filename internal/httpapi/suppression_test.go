package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// withSuppressions gives the API a list, and an audit, on a database of its own.
func withSuppressions(t testing.TB) func(*Options) {
	return func(o *Options) {
		url := "sqlite:" + filepath.Join(t.TempDir(), "suppressions.db")
		s, err := store.Open(t.Context(), store.Config{URL: url, AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		o.Suppressions, o.Audit = s.Suppressions(), audit.New(s.Audit(), testkit.Logger(t))
	}
}

// listed are an answer's suppressions in short.
func listed(a answer) []string {
	a.t.Helper()
	out := []string{}
	for _, s := range a.list("suppressions") {
		out = append(out, fmt.Sprint(s["address"], " ", s["category"], " ", s["reason"], " ", s["note"]))
	}
	slices.Sort(out)
	return out
}

func TestSuppressionLife(t *testing.T) {
	s := serve(t, withSuppressions(t))
	put := func(address, body string) answer {
		return s.call(http.MethodPut, "/suppressions/"+address, body).want(http.StatusOK)
	}
	put("Ann@Example.com", `{"note":"by phone"}`)
	a := put("ann@example.com", `{"category":"news","reason":"unsubscribe"}`)
	want := []string{"ann@example.com <nil> manual by phone", "ann@example.com news unsubscribe <nil>"}
	if got := listed(a); !slices.Equal(got, want) {
		t.Errorf("suppressed are %q", got)
	}
	put("bob@b%C3%BCcher.example", `{}`)
	for query, want := range map[string]int{
		"": 3, "?category=news": 1, "?category=*": 2, "?reason=manual": 2, "?address=BOB@xn--bcher-kva.example": 1, "?address=x@example.com": 0,
	} {
		if got := listed(s.get("/suppressions" + query).want(http.StatusOK)); len(got) != want {
			t.Errorf("%s lists %q", query, got)
		}
	}
	first := s.get("/suppressions?limit=2").want(http.StatusOK)
	rest := s.get("/suppressions?limit=2&cursor=" + first.str("next_cursor")).want(http.StatusOK)
	if len(listed(first)) != 2 || len(listed(rest)) != 1 || rest.json["next_cursor"] != nil {
		t.Errorf("the pages are %s and %s", first.text, rest.text)
	}
	a = s.call(http.MethodDelete, "/suppressions/ann@example.com?reason=manual", "").want(http.StatusOK)
	if got := listed(a); !slices.Equal(got, want[:1]) {
		t.Errorf("removed are %q", got)
	}
	s.call(http.MethodDelete, "/suppressions/ann@example.com", "").want(http.StatusOK)
	s.call(http.MethodDelete, "/suppressions/ann@example.com", "").want(http.StatusNotFound)
}

func TestSuppressionRefusals(t *testing.T) {
	s := serve(t, withSuppressions(t))
	for name, a := range map[string]answer{
		"address":  s.call(http.MethodPut, "/suppressions/nobody", `{}`),
		"body":     s.call(http.MethodPut, "/suppressions/a@example.com", `{"reason":"bounce","category":"news"}`),
		"reason":   s.call(http.MethodPut, "/suppressions/a@example.com", `{"reason":"boredom"}`),
		"cursor":   s.get("/suppressions?cursor=-1"),
		"category": s.get("/suppressions?categories=x"),
	} {
		a.want(http.StatusUnprocessableEntity)
		if name != "category" && a.fields()[name] == "" {
			t.Errorf("%s is not named: %s", name, a.text)
		}
	}
	s.call(http.MethodDelete, "/suppressions/nobody", "").want(http.StatusUnprocessableEntity)
	if got := listed(s.get("/suppressions")); len(got) != 0 {
		t.Errorf("suppressed are %q", got)
	}
}

func TestSuppressionScopes(t *testing.T) {
	s := serve(t, withSuppressions(t), withKeys(t))
	as := func(key string) []string { return []string{"X-API-Key", key} }
	writer, reader, boss, nobody := as("writer-secret-0000"), as("reader-secret-0000"), as("boss-secret-000000"), as("nobody-secret-0000")
	s.call(http.MethodPut, "/suppressions/a@example.com", `{}`, reader...).want(http.StatusForbidden)
	a := s.call(http.MethodPut, "/suppressions/a@example.com", `{}`, writer...).want(http.StatusOK)
	if actor := a.list("suppressions")[0]["actor"]; actor != "writer" {
		t.Errorf("the actor is %v", actor)
	}
	s.get("/suppressions", nobody...).want(http.StatusForbidden)
	s.get("/suppressions", reader...).want(http.StatusOK)
	s.get("/suppressions/export", reader...).want(http.StatusForbidden)
	s.call(http.MethodDelete, "/suppressions/a@example.com", "", writer...).want(http.StatusForbidden)
	s.call(http.MethodDelete, "/suppressions/a@example.com", "", boss...).want(http.StatusOK)
}

func (s *service) importCSV(media, text string) answer {
	r := httptest.NewRequest(http.MethodPost, "/suppressions/import", strings.NewReader(text))
	r.Header.Set("Content-Type", media)
	return s.send(r)
}

func TestSuppressionImportAndExport(t *testing.T) {
	s := serve(t, withSuppressions(t))
	var b strings.Builder
	b.WriteString("address,reason,category,note\n")
	const n = 2500 // more than are read at a time
	for i := range n {
		fmt.Fprintf(&b, "u%d@example.com,unsubscribe,news,=1+%d\n", i, i)
	}
	for range 2 { // to import again is safe
		if a := s.importCSV("text/csv; charset=utf-8", b.String()).want(http.StatusOK); a.json["suppressions"] != float64(n) {
			t.Errorf("imported are %s", a.text)
		}
	}
	a := s.get("/suppressions/export").want(http.StatusOK)
	if lines := strings.Count(a.text, "\n"); lines != n+1 || !strings.Contains(a.text, "u7@example.com,news,unsubscribe,'=1+7,") {
		t.Errorf("exported are %d lines: %.200s", lines, a.text)
	}
	if a.header.Get("Content-Type") != "text/csv; charset=utf-8" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("it is served with %v", a.header)
	}
	if got := strings.Count(s.get("/suppressions/export?reason="+string(mail.Bounce)).text, "\n"); got != 1 {
		t.Errorf("an export of nothing has %d lines", got)
	}

	a = s.importCSV("text/csv", "address,reason\nx@example.com,manual\nnobody,manual\ny@example.com,boredom\n").want(http.StatusUnprocessableEntity)
	if f := a.fields(); f["line 3"] == "" || f["line 4"] == "" || len(f) != 2 {
		t.Errorf("the bad lines are %v", f)
	}
	if got := listed(s.get("/suppressions?address=x@example.com")); len(got) != 0 {
		t.Errorf("half of a list was imported: %q", got)
	}
	s.importCSV("application/json", "{}").want(http.StatusUnsupportedMediaType)
	s.importCSV("text/csv", "address\n\xff@example.com\n").want(http.StatusBadRequest)
	s.importCSV("text/csv", strings.Repeat("x", maxBatchBody+1)).want(http.StatusRequestEntityTooLarge)
}
