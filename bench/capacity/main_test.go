package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the tables say follows from what was measured.
func TestTell(t *testing.T) {
	costs := []cost{{
		kind:   kind{name: "durable"},
		accept: usage{api: 60e-6, redis: 10e-6, postgres: 100e-6, waiting: 250, log: 1000},
		run:    usage{worker: 120e-6, redis: 20e-6, postgres: 200e-6, log: 2000},
		kept:   1000,
	}}
	var out bytes.Buffer
	if err := tell(&out, costs, live{idle: 16 << 10, busy: 24 << 10, delivery: 18e-6, commit: "abc"}, 100); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| Redis, µs (accept + run) | 10 + 20 |",
		"| api, cores | 0.10 |",                                  // 1,000 × 60 µs / 0.6
		"| PostgreSQL, cores | 5.0 |",                            // 10,000 × 300 µs / 0.6
		"| workers, cores | 20 |",                                // 100,000 × 120 µs / 0.6
		"| Redis, GB while an hour of jobs waits | 90 |",         // 100,000 × 3,600 × 250
		"| PostgreSQL, GB kept a day | 870 |",                    // 864, rounded up
		"| PostgreSQL's log, MB a second | 300 |",                // 100,000 × 3,000
		"| api, memory after a collection | 16.0 KiB | 16 GiB |", // 15.26
		"| api, processor time | 18.0 µs a delivery | 0.50 cores |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, &out)
		}
	}
}

// Connections are read from what the bench printed last, and nothing is told
// without.
func TestReadLive(t *testing.T) {
	l, err := readLive(filepath.Join("..", "results", "results.json"))
	if err != nil || l.idle < 1000 || l.busy < l.idle || l.delivery <= 0 || l.commit == "" {
		t.Errorf("the bench's results gave %+v, %v", l, err)
	}
	empty := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(empty, []byte(`{"cases":[{"name":"live-room","rows":[{"name":"x"}]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := readLive(empty); err == nil {
		t.Errorf("results without figures gave %+v", l)
	}
}
