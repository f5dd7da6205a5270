package httpapi

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Files are there once they are built, are asked after by their ETag, and
// nothing else of the machine is.
func TestBuilt(t *testing.T) {
	t.Parallel()
	above := t.TempDir()
	dir := filepath.Join(above, "web")
	get := func(b Built, method, target string, header ...string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(method, target, nil)
		if len(header) == 2 {
			r.Header.Set(header[0], header[1])
		}
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		return w
	}
	b := Built{Dir: dir, Target: "clients"}
	before := get(b, http.MethodGet, "/socket.io/socket.io.js")
	if before.Code != http.StatusNotFound || !strings.Contains(before.Body.String(), "make clients") ||
		before.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("before they are built the answer is %d %s", before.Code, before.Body)
	}

	for name, text := range map[string]string{
		"web/socket.io/socket.io.js": "let io", "web/socket.io/socket.io.js.map": "{}",
		"web/examples/chat/index.html": "<!doctype html>", "secret": "of the machine",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(above, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(above, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(above, "secret"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	js := get(b, http.MethodGet, "/socket.io/socket.io.js")
	if js.Code != http.StatusOK || js.Body.String() != "let io" || !strings.Contains(js.Header().Get("Content-Type"), "javascript") {
		t.Errorf("the script is answered with %d %s %v", js.Code, js.Body, js.Header())
	}
	if again := get(b, http.MethodGet, "/socket.io/socket.io.js", "If-None-Match", js.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("asked again it is answered with %d", again.Code)
	}
	if m := get(b, http.MethodGet, "/socket.io/socket.io.js.map"); m.Header().Get("Content-Type") != "application/json" {
		t.Errorf("the map is %q", m.Header().Get("Content-Type"))
	}
	for _, target := range []string{"/../secret", "/link", "/socket.io/nothing.js", "/"} {
		if w := get(b, http.MethodGet, target); w.Code != http.StatusNotFound {
			t.Errorf("%s is answered with %d %s", target, w.Code, w.Body)
		}
	}
	if w := get(b, http.MethodPost, "/socket.io/socket.io.js"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered with %d", w.Code)
	}

	pages := Built{Dir: dir, Target: "examples", Policy: "default-src 'self'"}
	if w := get(pages, http.MethodGet, "/examples/chat"); w.Code != http.StatusPermanentRedirect || w.Header().Get("Location") != "/examples/chat/" {
		t.Errorf("a folder is answered with %d to %q", w.Code, w.Header().Get("Location"))
	}
	page := get(pages, http.MethodGet, "/examples/chat/")
	if page.Code != http.StatusOK || !strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") || page.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("the page is answered with %d %v", page.Code, page.Header())
	}
}
