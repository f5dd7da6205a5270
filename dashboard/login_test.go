package dashboard

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/auth"
)

func credentials(name, password, next string) url.Values {
	return url.Values{"name": {name}, "password": {password}, "next": {next}}
}

func TestLogin(t *testing.T) {
	r := newRig(t)
	c := r.anonymous()
	got := c.get("/admin/jobs?state=failed").want(t, http.StatusSeeOther)
	at := got.header.Get("Location")
	if at != "/admin/login?next=%2Fadmin%2Fjobs%3Fstate%3Dfailed" {
		t.Fatalf("sent to %s", at)
	}
	c.get(at).want(t, http.StatusOK, `value="/admin/jobs?state=failed"`).lacks(t, "Overview")

	got = c.post("/admin/login", credentials("ann", "wrong", root)).want(t, http.StatusUnauthorized, "Name or password is wrong", `value="ann"`)
	if got.header.Get("Set-Cookie") != "" {
		t.Error("a cookie was set")
	}
	got = c.post("/admin/login", credentials("ann", password, "/admin/jobs?state=failed")).want(t, http.StatusSeeOther)
	if at := got.header.Get("Location"); at != "/admin/jobs?state=failed" {
		t.Errorf("sent to %s", at)
	}
	cookie := got.header.Get("Set-Cookie")
	for _, want := range []string{"Path=/admin", "HttpOnly", "SameSite=Lax", "Expires="} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q lacks %s", cookie, want)
		}
	}
	if strings.Contains(cookie, "Secure") {
		t.Errorf("over plain HTTP the cookie is %q", cookie)
	}
	c.get("/admin").want(t, http.StatusOK, "ann", "admin", "Log out")
	c.get("/admin/login").want(t, http.StatusSeeOther)

	c.post("/admin/logout", nil).want(t, http.StatusSeeOther)
	c.get("/admin").want(t, http.StatusSeeOther)
	c.api(http.MethodGet, "queues", "").want(t, http.StatusUnauthorized)
	c.post("/admin/jobs/x/cancel", nil).want(t, http.StatusUnauthorized)
	if strings.Contains(r.log.String(), password) {
		t.Error("the log tells a password")
	}
}

func TestLoginLeadsNowhereElse(t *testing.T) {
	for next, want := range map[string]string{
		"/admin/jobs": "/admin/jobs", "/admin": "/admin", "": "/admin", "https://evil.example/admin/": "/admin",
		"//evil.example": "/admin", "/adminx": "/admin", "/admin/login?next=/admin/login": "/admin", `/\evil.example`: "/admin",
		// What http.Redirect resolves, and a browser then reads as //evil.example.
		`/admin/../\evil.example`: "/admin", "/admin/..//evil.example": "/admin", "/admin/%2e%2e/%5cevil.example": "/admin",
		"/admin/../\t/evil.example": "/admin", "/admin/": "/admin/", "/admin/jobs?q=a/../b": "/admin/jobs?q=a/../b",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
}

func TestLoginAttemptsAreLimited(t *testing.T) {
	r := newRig(t)
	// Not by logging in: bcrypt is so slow under the race detector that the
	// budgets fill up again meanwhile.
	spend := func(name string, attempts int) {
		t.Helper()
		for i := range attempts {
			if wait, err := r.attempt(t.Context(), "127.0.0.1", name, ""); err != nil || wait != 0 {
				t.Fatalf("attempt %d for %s has to wait %v: %v", i, name, wait, err)
			}
		}
	}
	spend("ann", attemptsName.N)
	// The right password does not help any more.
	c := r.anonymous()
	got := c.post("/admin/login", credentials("ann", password, root)).want(t, http.StatusTooManyRequests, "Too many attempts")
	if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
		t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
	}
	if wait, err := r.attempt(t.Context(), "127.0.0.2", "ann", ""); err != nil || wait != 0 {
		t.Errorf("from elsewhere she has to wait %v: %v", wait, err)
	}
	// One address has a budget over all names.
	left := attemptsAddr.N - attemptsName.N - 1
	for i := range left {
		spend("name"+strconv.Itoa(i), 1)
	}
	c.post("/admin/login", credentials("bob", password, root)).want(t, http.StatusTooManyRequests)
}

func TestCookieIsSecureByHTTPS(t *testing.T) {
	forwarded := func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") }
	for name, c := range map[string]struct {
		options func(*Options)
		request func(*http.Request)
		want    bool
	}{
		"public URL":      {func(o *Options) { o.Secure = true }, func(*http.Request) {}, true},
		"trusted proxy":   {func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }, forwarded, true},
		"anybody's claim": {func(*Options) {}, forwarded, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.options)
			got := r.anonymous().post("/admin/logout", nil, c.request).want(t, http.StatusSeeOther)
			if secure := strings.Contains(got.header.Get("Set-Cookie"), "Secure"); secure != c.want {
				t.Errorf("Secure is %t, want %t", secure, c.want)
			}
		})
	}
}

func TestSessionEnds(t *testing.T) {
	// A clock that runs, so that it is past the session's end in whichever second that was made.
	r := newRig(t, func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(auth.SessionLife) } })
	r.as("ann").get("/admin").want(t, http.StatusSeeOther)
}

func TestWritesOfOtherOriginsAreRefused(t *testing.T) {
	r := newRig(t)
	task := r.accept(mailTo("user@example.com", time.Hour))
	for name, header := range map[string][2]string{
		"by fetch metadata": {"Sec-Fetch-Site", "cross-site"},
		"by origin":         {"Origin", "https://evil.example"},
		"of nowhere":        {"Origin", "null"},
	} {
		t.Run(name, func(t *testing.T) {
			foreign := func(req *http.Request) { req.Header.Set(header[0], header[1]) }
			c := r.as("ann")
			c.post("/admin/jobs/"+string(task.ID)+"/cancel", nil, foreign).want(t, http.StatusForbidden, "another origin")
			c.api(http.MethodPost, "queues/email:pause", "", foreign).want(t, http.StatusForbidden)
			c.post("/admin/login", credentials("ann", password, root), foreign).want(t, http.StatusForbidden)
		})
	}
	r.wantState(task.ID, "waiting")
}

// TestUnderTheAPI: the API's router, which sets CORS headers, serves the pages.
func TestUnderTheAPI(t *testing.T) {
	r := newRig(t, noUsers)
	router := chi.NewRouter()
	router.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			next.ServeHTTP(w, req)
		})
	})
	router.Handle("/admin", r.Handler())
	router.Handle("/admin/*", r.Handler())
	web := httptest.NewServer(router)
	t.Cleanup(web.Close)
	r.url = web.URL
	task := r.accept(mailTo("user@example.com", time.Hour))
	c := r.anonymous()
	for path, want := range map[string]string{
		"/admin": "Queues", "/admin/jobs/" + string(task.ID): "user@example.com", queueRoot: "asynq - monitoring",
		queueRoot + "/api/queues/email/tasks/" + task.TaskID(): "scheduled",
	} {
		got := c.get(path).want(t, http.StatusOK)
		if !strings.Contains(strings.ToLower(got.body), strings.ToLower(want)) {
			t.Errorf("%s lacks %q: %s", path, want, got.body)
		}
		if got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s can be read by pages of other origins", path)
		}
	}
}

func TestOpen(t *testing.T) {
	r := newRig(t, noUsers)
	c := r.anonymous()
	c.get("/admin").want(t, http.StatusOK, "Open to everybody on this machine").lacks(t, "Log out")
	c.get("/admin/login").want(t, http.StatusSeeOther)
	task := r.accept(mailTo("user@example.com", time.Hour))
	c.post("/admin/jobs/"+string(task.ID)+"/cancel", nil).want(t, http.StatusSeeOther)
	if e := r.lastEvent(task.ID); e.Actor != "dashboard" {
		t.Errorf("the actor is %q", e.Actor)
	}
	// A name that somebody points at 127.0.0.1.
	c.get("/admin", func(req *http.Request) { req.Host = "rebound.example:8080" }).want(t, http.StatusForbidden)
	c.get("/admin", func(req *http.Request) { req.Host = "localhost:8080" }).want(t, http.StatusOK)
	c.get("/admin", func(req *http.Request) { req.Host = "[::1]:8080" }).want(t, http.StatusOK)
}

func TestNewRefusesToBeOpenUnasked(t *testing.T) {
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "POSTRIDER_DASHBOARD_USERS") {
		t.Errorf("error %v", err)
	}
}
