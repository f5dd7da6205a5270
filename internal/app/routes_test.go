package app

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// unscoped are the routes that no scope of the API guards, each with what does.
var unscoped = map[string]string{
	"/openapi.json":        "public: what the API is",
	"/healthz":             "public: a word; for the network that probes",
	"/readyz":              "public: names of checks; for the network that probes",
	"/metrics":             "bounded labels, no address, id or URL; keep it within your network",
	"/admin":               "the dashboard's login",
	"/admin/*":             "the dashboard's login",
	"/admin/socket.io/*":   "a session of the dashboard",
	"/socket.io/*":         "a token of a user",
	"/clients/js/*":        "public: the client",
	"/feedback/{provider}": "a signature or a password of the provider",
	"/unsubscribe/*":       "a signed link",
	"/dev/mail":            "names of this machine only, development only",
	"/dev/mail/*":          "names of this machine only, development only",
	"/dev/token":           "pages of its own origin, development only",
	"/examples":            "public, development only",
	"/examples/*":          "public, development only",
}

// TestEveryRouteIsGuarded: whatever a process answers either needs a scope and
// says so in the OpenAPI document, or is one of those above.
func TestEveryRouteIsGuarded(t *testing.T) {
	closed := boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir(), "POSTRIDER_API_KEYS=boss:boss-secret-000000:admin", "POSTRIDER_JWT_SECRET="+liveSecret)
	// An open one, for development, has more routes, and lets in all of this machine.
	open := boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir())
	wildcard, scoped, seen := regexp.MustCompile(`\{[^}]*\}`), 0, map[string]bool{}
	for path := range scopedRoutes(t, open, seen) {
		if _, ok := unscoped[path]; ok {
			t.Errorf("%s is among those without a scope, and has one", path)
		}
	}
	for path, methods := range scopedRoutes(t, closed, seen) {
		for _, method := range methods {
			scoped++
			at := wildcard.ReplaceAllString(path, "x")
			if status, text := asked(t, closed.Addr(), method, at, "", ""); status != http.StatusUnauthorized {
				t.Errorf("%s %s is answered %d to a stranger: %.200s", method, at, status, text)
			}
		}
	}
	if scoped < 30 {
		t.Errorf("only %d routes have a scope", scoped)
	}
	for path := range unscoped {
		if !seen[path] {
			t.Errorf("%s is said to be guarded, and is not there", path)
		}
	}
}

// scopedRoutes are the methods of the paths that need a scope; of the others it
// says which of them nobody has thought of. It marks all that it sees.
func scopedRoutes(t *testing.T, a *App, seen map[string]bool) map[string][]string {
	t.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			Security []map[string][]string `json:"security"`
		} `json:"paths"`
	}
	get(t, a.Addr(), "/openapi.json", &document)
	routes, ok := a.handler.(chi.Routes)
	if !ok {
		t.Fatalf("the handler is a %T", a.handler)
	}
	out := map[string][]string{}
	err := chi.Walk(routes, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		seen[path] = true
		_, known := unscoped[path]
		switch {
		case len(document.Paths[path][strings.ToLower(method)].Security) > 0:
			out[path] = append(out[path], method)
		case !known && !strings.HasPrefix(path, "/socket.io/"): // the client's files, by name
			t.Errorf("%s %s has no scope, and nothing is said of what guards it", method, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
