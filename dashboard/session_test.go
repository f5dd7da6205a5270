package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/auth"
)

// holding is a client that has somebody's cookie, as a thief would.
func (r *rig) holding(token string) *client {
	r.t.Helper()
	c := r.anonymous()
	at, err := url.Parse(r.url + root)
	if err != nil {
		r.t.Fatal(err)
	}
	c.Jar.SetCookies(at, []*http.Cookie{{Name: sessionCookie, Value: token, Path: root}})
	return c
}

// A logout ends the session in all processes, whoever has a copy of its token.
func TestLogoutEndsCopies(t *testing.T) {
	one := newRig(t)
	two := newRigAt(t, one.redis.URL())
	token := one.session("ann")
	owner, thief, elsewhere := one.holding(token), one.holding(token), two.holding(token)
	for _, c := range []*client{owner, thief, elsewhere} {
		c.get("/admin").want(t, http.StatusOK)
	}
	other := two.as("ann")
	owner.post("/admin/logout", nil).want(t, http.StatusSeeOther)
	for _, c := range []*client{thief, elsewhere} {
		c.get("/admin").want(t, http.StatusSeeOther)
		c.api(http.MethodPost, "queues/email:pause", "").want(t, http.StatusUnauthorized)
	}
	other.get("/admin").want(t, http.StatusOK) // a login of its own
	if r := one; r.wasKept(token) {
		t.Error("Redis still has the session")
	}
}

func (r *rig) wasKept(token string) bool {
	r.t.Helper()
	n, err := r.rdb.Exists(r.t.Context(), sessionKey(auth.Fingerprint(token))).Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return n > 0
}

// A token that was signed and never logged in with is nothing: Redis must know it.
func TestSessionsThatNobodyBegan(t *testing.T) {
	r := newRig(t)
	r.holding(r.user("ann").Session(time.Now())).get("/admin").want(t, http.StatusSeeOther)
}

// A session that nobody uses is over, and use keeps it.
func TestIdleSessionsEnd(t *testing.T) {
	r := newRig(t)
	token := r.session("ann")
	c, key := r.holding(token), sessionKey(auth.Fingerprint(token))
	if err := r.rdb.Expire(t.Context(), key, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	c.get("/admin").want(t, http.StatusOK)
	if left := r.rdb.TTL(t.Context(), key).Val(); left < sessionIdle-time.Minute || left > sessionIdle {
		t.Errorf("used, it has %v left", left)
	}
	if err := r.rdb.PExpire(t.Context(), key, 0).Err(); err != nil { // as time does
		t.Fatal(err)
	}
	c.get("/admin").want(t, http.StatusSeeOther)
}

// While Redis is away a session goes on where it was seen, unless it was ended.
func TestSessionsWithoutRedis(t *testing.T) {
	one := newRig(t)
	two := newRigAt(t, one.redis.URL())
	token, ended := one.session("ann"), one.session("bob")
	one.redis.Stop()
	one.holding(token).get("/admin/jobs").want(t, http.StatusOK)
	two.holding(token).get("/admin/jobs").want(t, http.StatusSeeOther)
	thief := one.holding(ended)
	thief.get("/admin/jobs").want(t, http.StatusOK)
	one.holding(ended).post("/admin/logout", nil).want(t, http.StatusSeeOther)
	thief.get("/admin/jobs").want(t, http.StatusSeeOther)
	// Who logs in now is in, here.
	c := one.anonymous()
	c.post("/admin/login", credentials("ann", password, root)).want(t, http.StatusSeeOther)
	c.get("/admin/jobs").want(t, http.StatusOK)
}

// By HTTPS the cookies are bound to the host, and no other is believed.
func TestCookiesByHTTPS(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Secure = true })
	got := r.anonymous().post("/admin/login", credentials("ann", password, root)).want(t, http.StatusSeeOther)
	cookies := got.header.Values("Set-Cookie")
	if len(cookies) != 2 {
		t.Fatalf("the cookies are %q", cookies)
	}
	for i, name := range []string{"__Host-postrider_session", "__Host-postrider_browser"} {
		for _, want := range []string{name + "=", "Path=/;", "HttpOnly", "Secure", "SameSite=Lax"} {
			if !strings.Contains(cookies[i], want) {
				t.Errorf("%q lacks %s", cookies[i], want)
			}
		}
		if strings.Contains(cookies[i], "Domain") {
			t.Errorf("%q names a domain", cookies[i])
		}
	}
	token := r.session("ann")
	with := func(name string) func(*http.Request) {
		return func(req *http.Request) { req.AddCookie(&http.Cookie{Name: name, Value: token}) }
	}
	r.anonymous().get("/admin", with(hostPrefix+sessionCookie)).want(t, http.StatusOK)
	r.anonymous().get("/admin", with(sessionCookie)).want(t, http.StatusSeeOther)
}

// Strangers from everywhere may try one name only so often, and keep nobody out
// who has logged in with this browser before.
func TestStrangersLockNobodyOut(t *testing.T) {
	r := newRig(t)
	for i := range attemptsAccount.N {
		addr := "192.0.2." + string(rune('a'+i%26)) + string(rune('a'+i/26))
		if wait, err := r.attempt(t.Context(), addr, "ann", ""); err != nil || wait != 0 {
			t.Fatalf("attempt %d has to wait %v: %v", i, wait, err)
		}
	}
	c := r.anonymous()
	c.post("/admin/login", credentials("ann", password, root)).want(t, http.StatusTooManyRequests)
	r.anonymous().post("/admin/login", credentials("bob", password, root)).want(t, http.StatusSeeOther)

	known := func(name string) func(*http.Request) {
		return func(req *http.Request) {
			req.AddCookie(&http.Cookie{Name: browserCookie, Value: r.user(name).Browser(time.Now())})
		}
	}
	c.post("/admin/login", credentials("ann", password, root), known("bob")).want(t, http.StatusTooManyRequests)
	c.post("/admin/login", credentials("ann", "wrong", root), known("ann")).want(t, http.StatusUnauthorized)
	c.post("/admin/login", credentials("ann", password, root), known("ann")).want(t, http.StatusSeeOther)
	c.get("/admin").want(t, http.StatusOK)

	browser := r.user("ann").Browser(time.Now())
	for range attemptsBrowser.N {
		if wait, err := r.attempt(t.Context(), "192.0.2.1", "ann", browser); err != nil || wait != 0 {
			t.Fatalf("a known browser has to wait %v: %v", wait, err)
		}
	}
	if wait, err := r.attempt(t.Context(), "192.0.2.1", "ann", browser); err != nil || wait == 0 {
		t.Errorf("a known browser may guess without end: %v", err)
	}
	// It opens nothing.
	r.holding(browser).get("/admin").want(t, http.StatusSeeOther)
}
