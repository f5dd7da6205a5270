package app

import (
	"os"
	"strings"
	"testing"
)

// docs/metrics.md lists what processes register, and nothing else.
func TestMetricsAreDocumented(t *testing.T) {
	table, err := MetricsTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), table) {
		t.Errorf("docs/metrics.md is out of date: run make generate. The table is\n%s", table)
	}
	for line := range strings.Lines(table) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); ok && strings.Count(line, " | ") != 3 {
			t.Errorf("the row of %s is broken: %s", name, line)
		}
	}
}
