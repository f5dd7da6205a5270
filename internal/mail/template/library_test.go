package template

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// text is what a template of the library makes as its text now.
func text(t *testing.T, l *Library, name string) string {
	t.Helper()
	tm, err := l.Find(name)
	if err != nil {
		return err.Error()
	}
	return render(t, tm, "", "{}").Text
}

// A broken new version keeps the old one, and is told until it is mended.
func TestReload(t *testing.T) {
	dir := files{"a.html": page("one"), "b.html": page("b"), "README.md": "{{", ".a.html.swp": "{{", "layouts/.x.html": "{{"}.write(t, t.TempDir())
	l, log, reg := openLibrary(t, dir)
	state := func(what string) float64 {
		return testkit.Samples(t, reg)["postrider_templates "+what]
	}
	if err := l.Check(t.Context()); err != nil || text(t, l, "a") != "one\n" || state("ok") != 7 {
		t.Fatalf("a is %q, %v", text(t, l, "a"), err)
	}
	change := func(f files) {
		t.Helper()
		f.write(t, dir)
		l.refresh()
	}
	change(files{"a.html": page("two, and longer")})
	if got := text(t, l, "a"); got != "two, and longer\n" {
		t.Errorf("changed, it is %q", got)
	}
	change(files{"a.html": page("{{if}}"), "b.html": page("changed"), "new.html": "no subject"})
	err := l.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "template a: ") || !strings.Contains(err.Error(), "template new: ") {
		t.Errorf("broken, the check says %v", err)
	}
	if a, b := text(t, l, "a"), text(t, l, "b"); a != "two, and longer\n" || b != "changed\n" {
		t.Errorf("beside the broken one, a is %q and b is %q", a, b)
	}
	if got := text(t, l, "new"); !strings.Contains(got, "error in its files") {
		t.Errorf("the one that never was good is %q", got)
	}
	if state("broken") != 2 || log.Count("a template cannot be used") != 2 {
		t.Errorf("%v are broken, %d are logged", state("broken"), log.Count("a template cannot be used"))
	}
	l.refresh() // nothing has changed: nothing is said
	if log.Count("a template cannot be used") != 2 {
		t.Error("it is logged again")
	}
	change(files{"a.html": page("three"), "new.html": page("new")})
	if err := l.Check(t.Context()); err != nil || text(t, l, "a") != "three\n" || text(t, l, "new") != "new\n" || log.Count("well again") != 2 {
		t.Errorf("mended, a is %q: %v", text(t, l, "a"), err)
	}
	if err := os.Remove(filepath.Join(dir, "a.html")); err != nil {
		t.Fatal(err)
	}
	l.refresh()
	if got := text(t, l, "a"); !strings.Contains(got, "is not one that there is") {
		t.Errorf("removed, it is %q", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l.refresh()
	if err := l.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "directory") || text(t, l, "b") != "changed\n" {
		t.Errorf("without its directory, b is %q: %v", text(t, l, "b"), err)
	}
	change(files{"b.html": page("back")})
	if err := l.Check(t.Context()); err != nil || text(t, l, "b") != "back\n" {
		t.Errorf("with its directory again, b is %q: %v", text(t, l, "b"), err)
	}
}

// A started library sees a change by itself.
func TestWatch(t *testing.T) {
	dir := files{"a.html": page("one")}.write(t, t.TempDir())
	l, _, _ := openLibrary(t, dir)
	l.Start()
	defer l.Stop()
	files{"a.html": page("another")}.write(t, dir)
	testkit.WaitFor(t, time.Minute, "the change is seen", func() bool { return text(t, l, "a") == "another\n" })
}

func TestNoDirectory(t *testing.T) {
	log, _ := testkit.CaptureLog(t)
	_, err := NewLibrary(Options{Config: Config{Dir: filepath.Join(t.TempDir(), "nowhere")}, Log: log})
	if err == nil || !strings.Contains(err.Error(), "POSTRIDER_TEMPLATES") {
		t.Errorf("the error is %v", err)
	}
}

// What a directory's files may be is bounded.
func TestFilesAreBounded(t *testing.T) {
	for says, f := range map[string]files{
		"has 262145 bytes": {"a.html": strings.Repeat("x", maxFile+1)},
		"is not UTF-8":     {"a.html": "\xff"},
		"has a NUL":        {"a.txt": "\x00"},
	} {
		_, err := read(os.DirFS(f.write(t, t.TempDir())))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the error is %v, want it to say %s", err, says)
		}
	}
	// Nobody writes into this one: to read it would take for ever.
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "a.html"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(os.DirFS(dir)); err == nil || !strings.Contains(err.Error(), "a.html is not a file") {
		t.Errorf("of a pipe the error is %v", err)
	}
}
