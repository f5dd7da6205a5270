package dashboard

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// pagePolicy is what our own pages may load: what this process serves.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// guard stands before every page: it refuses writes from pages of other
// origins, and sets the headers that keep ours to themselves.
func (d *Dashboard) guard(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.log.Warn("a page of another origin tried to act", "path", r.URL.Path, "origin", r.Header.Get("Origin"))
		d.refuse(w, r, job.Errorf(job.CodeForbidden, "this request came from a page of another origin"))
	}))
	next = protection.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		// What the API's POSTRIDER_CORS_ORIGINS allow is not meant for these.
		h.Del("Access-Control-Allow-Origin")
		// Not no-referrer: a browser then sends "Origin: null" with our own
		// forms, which over plain HTTP is all that tells where they come from.
		h.Set("Referrer-Policy", "same-origin")
		if d.isOpen() && !auth.LocalHost(r.Host) {
			// A name that its owner points at 127.0.0.1 would make a page of
			// theirs ours (DNS rebinding).
			d.refuse(w, r, job.Errorf(job.CodeForbidden, "without POSTRIDER_DASHBOARD_USERS these pages answer to localhost only"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (d *Dashboard) isOpen() bool { return len(d.Users) == 0 }

type userKey struct{}

// userOf is who asks; the zero User, who may nothing, where nobody is logged
// in.
func userOf(r *http.Request) auth.User {
	u, _ := r.Context().Value(userKey{}).(auth.User)
	return u
}

// actor names a user in a job's events. API keys have no colon in their names.
func actor(u auth.User) string { return strings.TrimSuffix("dashboard:"+u.Name, ":") }

// known lets through who is logged in; a page sends the others to the login,
// and anything else is answered 401.
func (d *Dashboard) known(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, ok := d.session(r)
		switch {
		case ok:
			next(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
		case r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, queueRoot+"/api/"):
			http.Redirect(w, r, root+"/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			d.refuse(w, r, job.Errorf(job.CodeUnauthorized, "this needs a login"))
		}
	})
}

func (d *Dashboard) session(r *http.Request) (auth.User, bool) {
	if d.isOpen() {
		return auth.User{Role: auth.RoleAdmin}, true
	}
	token := d.cookie(r, sessionCookie)
	user, ok := d.Users.Session(token, d.Clock())
	if !ok || !d.sessions.use(r.Context(), token) {
		return auth.User{}, false
	}
	return user, true
}

// byHTTPS reports whether the browser speaks HTTPS, here or to a proxy in
// front.
func (d *Dashboard) byHTTPS(r *http.Request) bool {
	if d.Secure || r.TLS != nil {
		return true
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, p := range d.TrustedProxies {
		if p.Contains(from.Addr().Unmap()) {
			return strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
		}
	}
	return false
}
