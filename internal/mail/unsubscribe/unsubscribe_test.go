package unsubscribe

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is the history of jobs.
type told []string

func (t *told) Tell(_ context.Context, id job.ID, kind job.EventKind, message string) error {
	*t = append(*t, string(id)+" "+string(kind)+" "+message)
	if id == "gone" {
		return job.Errorf(job.CodeNotFound, "no such job")
	}
	return nil
}

type rig struct {
	t       *testing.T
	handler http.Handler
	links   *mail.Links
	list    mail.Suppressions
	told    *told
	log     *testkit.Log
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "x.db"), AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	rdb := redis.NewClient(&redis.Options{Addr: testkit.Redis(t).Addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	logger, log := testkit.CaptureLog(t)
	r := &rig{t: t, links: mail.NewLinks("https://post.example.com", "0123456789abcdef0123456789abcdef", mail.Categories{}), list: s.Suppressions(), told: &told{}, log: log}
	r.handler = Handler(Options{Links: r.links, Suppressions: r.list, Jobs: r.told, Limiter: limit.New(rdb, logger), Log: logger})
	return r
}

const jobID = "0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70"

// link is the path of a link to unsubscribe from news.
func (r *rig) link() string {
	return strings.TrimPrefix(r.links.Of("Ann@Example.com", "news", jobID), "https://post.example.com")
}

func (r *rig) ask(method, path, form string) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(form))
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return w
}

func (r *rig) want(w *httptest.ResponseRecorder, status int, says string) {
	r.t.Helper()
	if w.Code != status || !strings.Contains(w.Body.String(), says) {
		r.t.Errorf("got %d, want %d and %q:\n%s", w.Code, status, says, w.Body)
	}
}

func (r *rig) suppressed() []mail.Suppression {
	r.t.Helper()
	got, err := r.list.Find(r.t.Context(), "ann@example.com")
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func TestUnsubscribing(t *testing.T) {
	r := newRig(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} { // scanners do
		r.want(r.ask(method, r.link(), ""), http.StatusOK, "Unsubscribe?")
	}
	if got := r.suppressed(); len(got) != 0 {
		t.Fatalf("to look unsubscribes: %+v", got)
	}
	r.want(r.ask(http.MethodPost, r.link(), "List-Unsubscribe=One-Click"), http.StatusOK, "<h1>You are unsubscribed</h1>")
	for range 2 { // a mail program's repeats
		r.want(r.ask(http.MethodPost, r.link(), "List-Unsubscribe=One-Click"), http.StatusOK, "<h1>You are unsubscribed already</h1>")
	}
	got := r.suppressed()
	if len(got) != 1 || got[0].Category != "news" || got[0].Reason != mail.Unsubscribe || got[0].Job != jobID {
		t.Errorf("the list has %+v", got)
	}
	if len(*r.told) != 1 || (*r.told)[0] != jobID+" unsubscribed from news" {
		t.Errorf("the history has %q", *r.told)
	}
	r.want(r.ask(http.MethodGet, r.link(), ""), http.StatusOK, "Subscribe again")
	for range 2 {
		r.want(r.ask(http.MethodPost, r.link(), "undo=1"), http.StatusOK, "Unsubscribe?")
	}
	if got := r.suppressed(); len(got) != 0 {
		t.Errorf("after it was taken back: %+v", got)
	}
	r.want(r.ask(http.MethodPost, r.link(), ""), http.StatusOK, "You are unsubscribed") // the page's own button
	if got := r.suppressed(); len(got) != 1 {
		t.Errorf("by the page: %+v", got)
	}
}

// TestOneClickAsForm: RFC 8058 §3.2 lets a mail program send either kind of form.
func TestOneClickAsForm(t *testing.T) {
	r := newRig(t)
	req := httptest.NewRequest(http.MethodPost, r.link(), strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n"))
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	r.want(w, http.StatusOK, "You are unsubscribed")
	if len(r.suppressed()) != 1 {
		t.Error("it changed nothing")
	}
}

func TestThePage(t *testing.T) {
	r := newRig(t)
	w := r.ask(http.MethodGet, r.link(), "")
	if strings.Contains(strings.ToLower(w.Body.String()), "ann@") || !strings.Contains(w.Body.String(), "a…@example.com") {
		t.Errorf("it shows the whole address:\n%s", w.Body)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"} {
		if w.Header().Get(name) != want {
			t.Errorf("%s is %q", name, w.Header().Get(name))
		}
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(w.Body.String(), "<script") {
		t.Errorf("scripts: %s", csp)
	}
}

func TestWhatCannotBe(t *testing.T) {
	r := newRig(t)
	r.want(r.ask(http.MethodPost, r.link()+"x", ""), http.StatusNotFound, "not valid")
	r.want(r.ask(http.MethodGet, "/unsubscribe/", ""), http.StatusNotFound, "not valid")
	r.want(r.ask(http.MethodDelete, r.link(), ""), http.StatusMethodNotAllowed, "cannot be read")
	r.want(r.ask(http.MethodPost, r.link(), "undo="+strings.Repeat("1", maxForm)), http.StatusRequestEntityTooLarge, "cannot be read")
	r.want(r.ask(http.MethodPost, r.link(), "%zz"), http.StatusBadRequest, "cannot be read")
	if got := r.suppressed(); len(got) != 0 {
		t.Errorf("the list has %+v", got)
	}
}

func TestNobodyIsTooFast(t *testing.T) {
	r := newRig(t)
	h, _ := r.handler.(*pages)
	h.rate = limit.Rate{N: 2, Per: time.Hour}
	for range 2 {
		r.want(r.ask(http.MethodGet, r.link(), ""), http.StatusOK, "Unsubscribe?")
	}
	r.want(r.ask(http.MethodPost, r.link(), ""), http.StatusTooManyRequests, "Too many requests")
	if got := r.suppressed(); len(got) != 0 {
		t.Errorf("the list has %+v", got)
	}
}

// TestNoSecret: without links every token is unknown.
func TestNoSecret(t *testing.T) {
	r := newRig(t)
	h, _ := r.handler.(*pages)
	h.Links = nil
	r.want(r.ask(http.MethodPost, r.link(), ""), http.StatusNotFound, "not valid")
}
