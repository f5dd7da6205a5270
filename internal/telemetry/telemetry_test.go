package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogger(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  telemetry.Config
		want string
	}{
		"zero":          {telemetry.Config{}, "level=INFO msg=seen job=7\n"},
		"text at debug": {telemetry.Config{Format: telemetry.Text, Level: slog.LevelDebug}, "level=DEBUG msg=fine"},
		"json":          {telemetry.Config{Format: telemetry.JSON}, `"msg":"seen","job":7}` + "\n"},
	} {
		var b bytes.Buffer
		log := telemetry.NewLogger(&b, test.cfg)
		log.Debug("fine")
		log.Info("seen", "job", 7)
		if !strings.Contains(b.String(), test.want) {
			t.Errorf("%s: %q lacks %q", name, &b, test.want)
		}
		if fine := strings.Contains(b.String(), "fine"); fine != (test.cfg.Level == slog.LevelDebug) {
			t.Errorf("%s: debug lines: %t", name, fine)
		}
	}
}

// TestChecksMetric: scrapes in quick succession ask the checks once.
func TestChecksMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, broken := 0, errors.New("broken")
		health := telemetry.NewHealth(slog.New(slog.DiscardHandler))
		health.Add("database", telemetry.Required, func(context.Context) error { asked++; return nil })
		health.Add("redis", telemetry.Degraded, func(context.Context) error { return broken })
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(telemetry.Checks(health))
		up := func() map[string]float64 {
			families, err := reg.Gather()
			if err != nil || len(families) != 1 {
				t.Fatalf("%d metrics, %v", len(families), err)
			}
			found := map[string]float64{}
			for _, m := range families[0].Metric {
				found[m.Label[0].GetValue()] = m.Gauge.GetValue()
			}
			return found
		}
		for range 2 {
			if got := up(); got["database"] != 1 || got["redis"] != 0 || len(got) != 2 {
				t.Errorf("checks %v", got)
			}
		}
		if asked != 1 {
			t.Errorf("two scrapes asked %d times", asked)
		}
		broken = nil
		time.Sleep(5 * time.Second)
		if got := up(); got["redis"] != 1 {
			t.Errorf("checks %v", got)
		}
	})
}

func TestFormat(t *testing.T) {
	var f telemetry.Format
	if err := f.UnmarshalText([]byte("json")); err != nil || f != telemetry.JSON {
		t.Errorf("json: %q, %v", f, err)
	}
	if err := f.UnmarshalText([]byte("xml")); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("xml: %v, want an error that names it", err)
	}
}

// ask requests one of the handler's pages.
func ask(t *testing.T, h http.Handler, path string) (int, telemetry.Status) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	var status telemetry.Status
	if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
		t.Fatalf("%s answered %q: %v", path, w.Body, err)
	}
	return w.Code, status
}

func TestReadiness(t *testing.T) {
	ok := func(context.Context) error { return nil }
	away := func(context.Context) error { return errors.New("away") }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	type checks = map[string]string
	for name, test := range map[string]struct {
		add   func(*telemetry.Health)
		code  int
		want  string
		words checks
	}{
		"no checks": {func(h *telemetry.Health) {}, 200, "ok", checks{}},
		"well":      {func(h *telemetry.Health) { h.Add("sql", telemetry.Required, ok) }, 200, "ok", checks{"sql": "ok"}},
		"required fails": {func(h *telemetry.Health) {
			h.Add("sql", telemetry.Required, away)
			h.Add("redis", telemetry.Degraded, away)
		}, 503, "failing", checks{"sql": "failing", "redis": "failing"}},
		"only the lesser fails": {func(h *telemetry.Health) {
			h.Add("sql", telemetry.Required, ok)
			h.Add("redis", telemetry.Degraded, away)
		}, 200, "degraded", checks{"sql": "ok", "redis": "failing"}},
		"hangs, two at once": {func(h *telemetry.Health) {
			h.Add("sql", telemetry.Required, hangs)
			h.Add("redis", telemetry.Degraded, hangs)
		}, 503, "failing", checks{"sql": "timeout", "redis": "timeout"}},
		"one hangs, the others do not": {func(h *telemetry.Health) {
			h.Add("sql", telemetry.Required, hangs)
			for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
				h.Add(name, telemetry.Degraded, ok)
			}
		}, 503, "failing", checks{"sql": "timeout", "a": "ok", "b": "ok", "c": "ok", "d": "ok", "e": "ok", "f": "ok", "g": "ok", "h": "ok"}},
		"panics": {func(h *telemetry.Health) {
			h.Add("sql", telemetry.Required, func(context.Context) error { panic("oops") })
		}, 503, "failing", checks{"sql": "failing"}},
		"draining": {func(h *telemetry.Health) {
			h.Add("sql", telemetry.Required, ok)
			h.Drain()
		}, 503, "draining", checks{"sql": "ok"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				health := telemetry.NewHealth(slog.New(slog.DiscardHandler))
				test.add(health)
				handler := telemetry.Handler(prometheus.NewRegistry(), health)
				start := time.Now()
				code, got := ask(t, handler, "/readyz")
				if want := (telemetry.Status{Status: test.want, Checks: test.words}); code != test.code || !reflect.DeepEqual(got, want) {
					t.Errorf("got %d %+v, want %d %+v", code, got, test.code, want)
				}
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("took %v, want at most 2s for all checks together", took)
				}
				if code, _ := ask(t, handler, "/healthz"); code != 200 {
					t.Errorf("/healthz answered %d, want 200 whatever the checks say", code)
				}
			})
		})
	}
}

func TestProberThatHangsUpIsNoFailure(t *testing.T) {
	health := telemetry.NewHealth(testkit.Logger(t))
	health.Add("sql", telemetry.Required, func(ctx context.Context) error { return ctx.Err() })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	telemetry.Handler(prometheus.NewRegistry(), health).ServeHTTP(w, httptest.NewRequestWithContext(gone, "GET", "/readyz", nil))
	if w.Code != 200 {
		t.Errorf("got %d %s, want 200", w.Code, w.Body)
	}
}

func TestFailureIsLoggedOnce(t *testing.T) {
	log, lines := testkit.CaptureLog(t)
	health := telemetry.NewHealth(log)
	var err error
	health.Add("sql", telemetry.Required, func(context.Context) error { return err })
	for _, err = range []error{nil, errors.New("no route"), errors.New("no route"), nil, nil} {
		health.Status(t.Context())
	}
	if fails, well := lines.Count(`fails" component=health check=sql error="no route"`), lines.Count("well again"); fails != 1 || well != 1 {
		t.Errorf("logged %d failures and %d recoveries, want one each", fails, well)
	}
}

func TestMetrics(t *testing.T) {
	// Two registries at once: nothing is global.
	telemetry.NewRegistry()
	handler := telemetry.Handler(telemetry.NewRegistry(), telemetry.NewHealth(testkit.Logger(t)))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for _, want := range []string{"go_goroutines ", "process_start_time_seconds "} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}
