package recipient

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/tasks"
)

// The built-in template takes what a digest has, the largest too.
func TestBuiltinTemplateTakesDigests(t *testing.T) {
	l, err := template.NewLibrary(template.Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := l.Find(digestTemplate)
	if err != nil {
		t.Fatal(err)
	}
	largest := Contents{Total: 10_000}
	for range maxShown {
		largest.Items = append(largest.Items, Item{Title: strings.Repeat("<", maxTitle), Text: strings.Repeat("🌍", maxExcerpt)})
	}
	for name, c := range map[string]Contents{
		"one":     {Total: 1, Items: []Item{{Title: "One thing"}}},
		"largest": largest,
	} {
		sub, err := compose("Example", "ann@example.com", c)
		if err != nil {
			t.Fatal(err)
		}
		e, err := tasks.EmailSend.Decode(sub.Payload)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, _, err := digest.Try(t.Context(), "", json.RawMessage(e.Data), ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
