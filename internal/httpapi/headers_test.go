package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

// Whatever is served has the headers, and HSTS where people come by HTTPS.
func TestHeadersOfEveryAnswer(t *testing.T) {
	for public, hsts := range map[string]string{"": "", "http://post.example.com": "", "https://post.example.com": "max-age=31536000"} {
		server := Server(http.NotFoundHandler(), Config{PublicURL: public}, testkit.Logger(t))
		w := httptest.NewRecorder()
		server.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/nothing", nil))
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": hsts,
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
			"Permissions-Policy":      "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("with %q %s is %q, want %q", public, name, got, want)
			}
		}
	}
}

// Nobody holds a connection by sending slowly, nor memory by sending much.
func TestServerIsBounded(t *testing.T) {
	s := Server(http.NotFoundHandler(), Config{}, testkit.Logger(t))
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("a bound is missing: %+v", s)
	}
}
