package httpapi

import "net/http"

// The headers of every answer, shared by all: where a page says otherwise they
// are replaced, and never added to.
var (
	noSniff      = []string{"nosniff"}
	noReferrer   = []string{"no-referrer"}
	loadsNothing = []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
	mayNothing   = []string{"camera=(), geolocation=(), microphone=(), payment=(), usb=()"}
	byHTTPSOnly  = []string{"max-age=31536000"}
)

// withHeaders sets what keeps a browser from doing with an answer what it is not
// for: guess its type, run or show it within a page, tell others its address.
// What serves pages replaces the policy by its own. https has browsers come by
// HTTPS alone for a year (RFC 6797).
func withHeaders(next http.Handler, https bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"], h["Referrer-Policy"] = noSniff, noReferrer
		h["Content-Security-Policy"], h["Permissions-Policy"] = loadsNothing, mayNothing
		if https || r.TLS != nil {
			h["Strict-Transport-Security"] = byHTTPSOnly
		}
		next.ServeHTTP(w, r)
	})
}
