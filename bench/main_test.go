package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The bench starts contestants from its own file, which is the test's here.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "contestant" || os.Args[1] == "process") {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// One case of each kind runs with the contestants that are Go alone.
func TestQuickRun(t *testing.T) {
	var out, log bytes.Buffer
	args := []string{"-quick", "-rounds", "1", "-only", "Postrider,asynq", "enqueue-one", "drain-100x2", "delayed", "memory"}
	if code := run(args, nil, &out, &log); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, &log)
	}
	for _, want := range []string{"| enqueue-one | jobs/s |", "| drain-100x2 | jobs/s |", "| delayed, lateness p99 | ms |",
		"| memory of a pending job | bytes |", "| Postrider | asynq |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), " – |") {
		t.Errorf("a figure is missing:\n%s", &out)
	}
}

// The live cases run with ours; Node's are tried by -quick.
func TestQuickLive(t *testing.T) {
	var out, log bytes.Buffer
	args := []string{"-quick", "-rounds", "1", "-only", oursSocketIO + "," + oursHub, "live-*"}
	if code := run(args, nil, &out, &log); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, &log)
	}
	for _, want := range []string{"| live, deliveries | events/s |", "| echo, p99 | ms |", "| a stalled client, memory | MiB |",
		"| live over Redis, broadcast p99 | ms |", "| Postrider socketio | Postrider Hub |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
}

// The cases with whole processes run where PostgreSQL is.
func TestQuickFleet(t *testing.T) {
	var out, log bytes.Buffer
	if code := run([]string{"-quick", "-rounds", "1", "scale", "idle"}, nil, &out, &log); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, &log)
	}
	for _, want := range []string{"| scale, 8 workers (ideal 800) | jobs/s |", "| 3 idle workers, commands to Redis | 1/s |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
}

// What an earlier run measured stays as long as what it said still holds.
func TestMerge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(file, []byte(`{"about":["a machine","a version"],"cases":[{"name":"memory"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for about, kept := range map[string]int{"a machine|a version|another program": 2, "a machine|a version of today": 1} {
		r := &report{About: strings.Split(about, "|"), Cases: []*result{{Name: "live-room"}}}
		if err := r.merge(file); err != nil || len(r.Cases) != kept {
			t.Errorf("%s: there are %d cases (%v), not %d", about, len(r.Cases), err, kept)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{{"no-such-case"}, {"-rounds", "0"}, {"-share", "2"}, {"-no-such-flag"}, {"contestant"}, {"contestant", "nobody", "{}"}} {
		var out, log bytes.Buffer
		if code := run(args, strings.NewReader(""), &out, &log); code != 1 || log.Len() == 0 {
			t.Errorf("bench %v: exit code %d, and it said %q", args, code, &log)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		figures []float64
		p, want float64
	}{
		{[]float64{3, 1, 2}, 50, 2}, {[]float64{4, 1, 2, 3}, 50, 2.5}, {hundred, 99, 99}, {hundred, 50, 50.5}, {[]float64{7}, 99, 7},
	} {
		if got := percentile(c.figures, c.p); got != c.want {
			t.Errorf("percentile %v of %v is %v, want %v", c.p, c.figures, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("no figures have a median")
	}
}

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{0: "0.00", -0.914: "-0.91", 12.34: "12.3", 123.4: "123", 1234.4: "1,234", 1234567: "1,234,567", math.NaN(): "–"} {
		if got := number(f); got != want {
			t.Errorf("number(%v) = %q, want %q", f, got, want)
		}
	}
}

// A round in which one of the two failed says nothing of their ratio.
func TestRatios(t *testing.T) {
	r := newResult(benchCase{rows: []row{{}}}, 3)
	r.note(ours, 0, []float64{20})
	r.note(bullmq, 0, []float64{10})
	r.note(ours, 1, []float64{30})
	r.note(ours, 2, []float64{60})
	r.note(bullmq, 2, []float64{15})
	g := goal{Who: ours, Peer: bullmq, Factor: 2.5}
	got := r.ratios(g, 0)
	if len(got) != 2 || got[0] != 2 || got[1] != 4 {
		t.Errorf("the ratios are %v, want 2 and 4", got)
	}
	if m := median(got); !g.met(row{}, m) || g.met(row{Less: true}, m) {
		t.Errorf("a median of %v against %v is not judged by whether less is better", m, g.Factor)
	}
}
