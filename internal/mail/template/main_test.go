package template

import (
	"context"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files are a directory's, by path.
type files map[string]string

// write puts the files into a directory, which is made where it is not there.
func (f files) write(t *testing.T, dir string) string {
	t.Helper()
	for path, text := range f {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openLibrary(t testing.TB, dir string) (*Library, *testkit.Log, *prometheus.Registry) {
	t.Helper()
	log, logged := testkit.CaptureLog(t)
	reg := prometheus.NewPedanticRegistry()
	l, err := NewLibrary(Options{Config: Config{Dir: dir}, Log: log, Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	return l, logged, reg
}

// one makes the template "t" of files, without the built-in ones.
func one(t *testing.T, f files) *Template {
	t.Helper()
	out, broken := build(nil, f)
	if len(broken) > 0 {
		t.Fatal(broken)
	}
	return out["t"]
}

// page is the HTML file of a template with a subject and that body.
func page(body string) string { return `{{define "subject"}}s{{end}}` + body }

func render(t *testing.T, tm *Template, locale, data string) Mail {
	t.Helper()
	_, m, err := tm.Render(t.Context(), locale, []byte(data), "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bad are the fields that a rendering is refused for, with why.
func bad(t *testing.T, tm *Template, data string) map[string]string {
	t.Helper()
	_, _, err := tm.Try(context.Background(), "", []byte(data), "")
	var fields tasks.Invalid
	if err != nil && !errors.As(err, &fields) {
		t.Fatalf("the error %v (%T) names no field", err, err)
	}
	out := map[string]string{}
	for _, f := range fields {
		out[f.Field] = f.Problem
	}
	return out
}

func refused(t *testing.T, tm *Template, data string, want ...string) {
	t.Helper()
	got := bad(t, tm, data)
	if len(got) != len(want) {
		t.Errorf("%.100s: refused for %v, want %v", data, got, want)
	}
	for _, field := range want {
		if _, ok := got[field]; !ok {
			t.Errorf("%.100s: refused for %v, want %v", data, got, want)
		}
	}
}

func with(base files, more files) files {
	out := maps.Clone(base)
	maps.Copy(out, more)
	return out
}

func contains(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the %s lacks %q:\n%s", what, w, text)
		}
	}
}
