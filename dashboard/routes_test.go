package dashboard

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// route is a line of Dashboard.routes.
type route struct {
	method, path string
	known        bool // d.known stands before it
}

// routesOf reads the routes from their source, so that one that is added is
// looked at by the tests below without anybody thinking of it.
func routesOf(t *testing.T) (out []route) {
	t.Helper()
	roots := map[string]string{
		"root": root, "queueRoot": queueRoot, "deliveryRoot": deliveryRoot, "suppressionRoot": suppressionRoot, "bulkRoot": bulkRoot,
		"scheduleRoot": scheduleRoot, "workerRoot": workerRoot, "keyRoot": keyRoot, "auditRoot": auditRoot, "sendRoot": sendRoot,
	}
	file, err := parser.ParseFile(token.NewFileSet(), "dashboard.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text func(e ast.Expr) string
	text = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BinaryExpr:
			return text(e.X) + text(e.Y)
		case *ast.BasicLit:
			s, err := strconv.Unquote(e.Value)
			if err != nil {
				t.Fatal(err)
			}
			return s
		case *ast.Ident:
			if s, ok := roots[e.Name]; ok {
				return s
			}
			t.Fatalf("this test does not know the constant %s: add it", e.Name)
		default:
			t.Fatalf("a pattern is a %T", e)
		}
		return ""
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		fun, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || fun.Sel.Name != "Handle" && fun.Sel.Name != "HandleFunc" {
			return true
		}
		r := route{}
		r.method, r.path, _ = strings.Cut(text(call.Args[0]), " ")
		if r.path == "" {
			r.method, r.path = "", r.method
		}
		if inner, ok := call.Args[1].(*ast.CallExpr); ok {
			by, ok := inner.Fun.(*ast.SelectorExpr)
			r.known = ok && by.Sel.Name == "known"
		}
		out = append(out, r)
		return true
	})
	if len(out) < 20 {
		t.Fatalf("only %d routes were found", len(out))
	}
	return out
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

func (r route) url() string { return wildcard.ReplaceAllString(r.path, "x") }

// Whoever is not logged in reaches the login and what it looks like, no more.
func TestEveryRouteNeedsALogin(t *testing.T) {
	r := newRig(t)
	open := map[string]bool{"GET /admin/assets/{file}": true, "GET /admin/login": true, "POST /admin/login": true, "POST /admin/logout": true}
	for _, at := range routesOf(t) {
		if name := at.method + " " + at.path; at.known == open[name] {
			t.Errorf("%s: behind the login is %t", name, at.known)
		}
		if !at.known {
			continue
		}
		c := r.anonymous()
		if at.method == http.MethodPost {
			c.post(at.url(), nil).want(t, http.StatusUnauthorized)
		} else {
			c.get(at.url()).want(t, http.StatusSeeOther)
		}
	}
}

// No page of another origin can have an operator's browser do anything.
func TestNoRouteTakesOtherOrigins(t *testing.T) {
	r := newRig(t)
	c, n := r.as("ann"), 0
	for _, at := range routesOf(t) {
		if at.method == http.MethodGet {
			continue
		}
		n++
		for name, value := range map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"} {
			got := c.post(at.url(), nil, func(req *http.Request) { req.Header.Set(name, value) })
			if got.status != http.StatusForbidden || !strings.Contains(got.body, "another origin") {
				t.Errorf("POST %s with %s: %d", at.path, name, got.status)
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d routes take a POST", n)
	}
}

// A viewer changes nothing, whatever the route.
func TestViewersChangeNothing(t *testing.T) {
	r := newRig(t)
	c := r.as("bob")
	for _, at := range routesOf(t) {
		if at.method != http.MethodPost || !at.known {
			continue
		}
		if got := c.post(at.url(), nil); got.status != http.StatusForbidden && got.status != http.StatusNotFound {
			t.Errorf("POST %s: a viewer gets %d", at.path, got.status)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete} {
		c.api(method, "queues/email:pause", "").want(t, http.StatusForbidden)
	}
}

// Every page has a policy that runs no inline script and lets nobody frame it.
func TestEveryPageHasAPolicy(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	for _, path := range []string{"/admin", "/admin/login", "/admin/jobs", "/admin/queues", "/admin/nothing", "/admin/assets/app.js"} {
		policy := c.get(path).header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy %q lacks %s", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
	}
}
