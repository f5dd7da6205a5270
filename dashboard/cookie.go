package dashboard

import (
	"net/http"
	"time"
)

// The cookies. Neither means anything to the rest of the API.
const (
	sessionCookie = "postrider_session" // the session's token
	browserCookie = "postrider_browser" // that its user has logged in with this browser
)

// hostPrefix begins the name of a cookie that browsers take by HTTPS alone, and
// from this very host: no page of a neighbouring domain can plant one
// (draft-ietf-httpbis-rfc6265bis, section 4.1.3.2).
const hostPrefix = "__Host-"

// cookieName is a cookie's name as the browser has it. By HTTPS no other than
// the one with the prefix is believed.
func (d *Dashboard) cookieName(r *http.Request, name string) string {
	if d.byHTTPS(r) {
		return hostPrefix + name
	}
	return name
}

// cookie is what a cookie holds; "" when there is none.
func (d *Dashboard) cookie(r *http.Request, name string) string {
	c, err := r.Cookie(d.cookieName(r, name))
	if err != nil {
		return ""
	}
	return c.Value
}

func (d *Dashboard) setCookie(w http.ResponseWriter, r *http.Request, name, value string, until time.Time) {
	secure, path := d.byHTTPS(r), root
	if secure {
		path = "/" // which the prefix asks for
	}
	http.SetCookie(w, &http.Cookie{
		Name: d.cookieName(r, name), Value: value, Path: path, Expires: until,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure,
	})
}
