package operator

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"order.html":    `{{define "subject"}}Order {{.number}}{{end}}{{define "preheader"}}p{{end}}<p>Thanks`,
		"order.de.html": `{{define "subject"}}Bestellung {{.number}}{{end}}<p>Danke`,
		"bad.html":      "{{",
		"data.json":     `{"number":7}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data.json")
	environ := []string{"POSTRIDER_TEMPLATES=" + dir}
	if got := mustRun(t, environ, "", "render", "order", "--data", data); got != "Subject: Order 7\nPreheader: p\n\nThanks\n" {
		t.Errorf("printed is %q", got)
	}
	var all map[string]string
	out := mustRun(t, nil, `{"number":8}`, "render", "order", "--dir", dir, "--data", "-", "--locale", "de-AT", "--json")
	if err := json.Unmarshal([]byte(out), &all); err != nil || all["subject"] != "Bestellung 8" || all["locale"] != "de" || len(all["hash"]) != 64 || all["text"] != "Danke\n" {
		t.Errorf("printed is %s (%v)", out, err)
	}
	if got := mustRun(t, nil, "", "render", "welcome", "--html"); !strings.HasPrefix(got, "<!DOCTYPE html>") || !strings.Contains(got, "Welcome, Ann") {
		t.Errorf("printed is %s", got)
	}
	for category, shown := range map[string]bool{"news": true, "receipt": false} {
		if got := mustRun(t, nil, "", "render", "welcome", "--category", category); strings.Contains(got, "https://example.com/unsubscribe/example") != shown {
			t.Errorf("of the category %s, printed is %s", category, got)
		}
	}
	for says, c := range map[string]struct {
		code int
		args []string
	}{
		"there is no template":              {exitUsage, []string{"render", "nowhere"}},
		"data.number must be given":         {exitError, []string{"render", "order"}},
		"template bad: bad.html: parsing":   {exitError, []string{"render", "bad"}},
		"reading the data":                  {exitError, []string{"render", "order", "--data", filepath.Join(dir, "none")}},
		"POSTRIDER_TEMPLATES: reading the ": {exitError, []string{"render", "order", "--dir", filepath.Join(dir, "none")}},
	} {
		if r := run(t, environ, "", c.args...); r.code != c.code || !strings.Contains(r.err, says) {
			t.Errorf("%v: exit code %d, %q; want it to say %q", c.args, r.code, r.err, says)
		}
	}
}
