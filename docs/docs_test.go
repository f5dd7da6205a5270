// Package docs_test holds the documentation to the code.
package docs_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/tasks"
)

// The job type that job-types.md shows compiles where it says, and takes fewer
// lines than it promises.
func TestJobTypeCompiles(t *testing.T) {
	text, err := os.ReadFile("job-types.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)`([a-z/]+\\.go)`:\n\n```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 {
		t.Fatalf("found %d files in job-types.md, want two", len(blocks))
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	lines := 0
	for _, b := range blocks {
		name, code := b[1], b[2]
		for line := range strings.Lines(code) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				lines++
			}
		}
		file := filepath.Join(t.TempDir(), filepath.Base(name))
		if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, name)] = file
	}
	if lines >= 40 {
		t.Errorf("the job type has %d lines of code, want fewer than 40", lines)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-overlay", file, "./tasks", "./internal/work")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("building the job type of job-types.md: %v\n%s", err, out)
	}
}

// The timetable file that timetable.md shows is one.
func TestTimetableLoads(t *testing.T) {
	text, err := os.ReadFile("timetable.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	code, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("found no file in timetable.md")
	}
	file := filepath.Join(t.TempDir(), "timetable.yaml")
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	seeds, err := schedule.Seeds(schedule.Config{Timetable: file})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range seeds {
		if s.Name != "weekly-report" || s.TimeZone != "Europe/Berlin" {
			continue
		}
		if _, err := tasks.EmailSend.Decode(s.Payload); err != nil {
			t.Errorf("its payload: %v", err)
		}
		return
	}
	t.Errorf("the entry is not among the seeds: %+v", seeds)
}

// The template that templates.md shows renders the example of its schema.
func TestTemplateRenders(t *testing.T) {
	text, err := os.ReadFile("templates.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for lang, name := range map[string]string{"html": "order.html", "json": "order.schema.json"} {
		_, rest, _ := strings.Cut(string(text), "```"+lang+"\n")
		code, _, found := strings.Cut(rest, "```")
		if !found {
			t.Fatalf("found no %s in templates.md", lang)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	library, err := template.NewLibrary(template.Options{
		Config: template.Config{Dir: dir}, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := library.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	order, err := library.Find("order")
	if err != nil {
		t.Fatal(err)
	}
	if _, m, err := order.Render(t.Context(), "", order.Example(), ""); err != nil || !strings.Contains(m.Text, "- Honey") {
		t.Errorf("it makes %+v, %v", m, err)
	}
}
