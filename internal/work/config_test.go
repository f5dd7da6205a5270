package work

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func defaults(t *testing.T) Config {
	t.Helper()
	var c struct{ Work Config }
	if _, err := config.Load(&c, nil, nil); err != nil {
		t.Fatal(err)
	}
	return c.Work
}

func TestDefaultsFit(t *testing.T) {
	if err := defaults(t).CheckBudget(20*time.Second, tasks.Builtin()); err != nil {
		t.Error(err)
	}
}

func TestCheckBudget(t *testing.T) {
	for _, test := range []struct {
		name  string
		alter func(c *Config, smtp *time.Duration)
		says  []string // each in the error; the number of its lines
	}{
		{"smtp conversation", func(_ *Config, smtp *time.Duration) { *smtp = 30 * time.Second },
			[]string{"POSTRIDER_SMTP_TIMEOUT (30s) must be less than the deadline of email:send (30s)"}},
		{"shutdown limit", func(c *Config, _ *time.Duration) { c.ShutdownLimit = 15 * time.Second }, []string{
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of email:send (30s)",
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of email:reminder (30s)",
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of feedback:receive (30s)",
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of notification:send (15s)",
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of maintenance:cleanup (30s)",
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of chat:archive (30s)",
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of schedule:tick (15s)",
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of noop (15s)",
			"POSTRIDER_SHUTDOWN_LIMIT (15s) must be more than the deadline of noop:ephemeral (15s)",
		}},
		{"container grace", func(c *Config, _ *time.Duration) { c.ContainerGrace = 50 * time.Second },
			[]string{"POSTRIDER_CONTAINER_GRACE (50s) must be more than POSTRIDER_SHUTDOWN_LIMIT (35s) + POSTRIDER_STOP_GRACE (5s) + 10s to record outcomes (together 50s)"}},
		{"all", func(c *Config, smtp *time.Duration) {
			*smtp, c.ShutdownLimit, c.StopGrace = time.Minute, 16*time.Second, time.Minute
		}, []string{
			"POSTRIDER_SMTP_TIMEOUT (1m0s)", "POSTRIDER_STOP_GRACE (1m0s)", "POSTRIDER_SHUTDOWN_LIMIT (16s)",
			"deadline of email:reminder", "deadline of feedback:receive", "deadline of maintenance:cleanup", "deadline of chat:archive",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, smtp := defaults(t), 20*time.Second
			test.alter(&c, &smtp)
			err := c.CheckBudget(smtp, tasks.Builtin())
			if err == nil {
				t.Fatal("it fits")
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q:\n%v", want, err)
				}
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != len(test.says) {
				t.Errorf("%d complaints, want %d:\n%v", n, len(test.says), err)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	err := Config{ShutdownLimit: -time.Second, StopGrace: 0, ContainerGrace: time.Minute}.Validate()
	if err == nil || !strings.Contains(err.Error(), "POSTRIDER_SHUTDOWN_LIMIT") ||
		!strings.Contains(err.Error(), "POSTRIDER_STOP_GRACE") || strings.Contains(err.Error(), "POSTRIDER_CONTAINER_GRACE") {
		t.Errorf("error %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	types, err := tasks.NewCatalogue(tasks.Noop.Type, strayType.Type)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		handlers []Binding
		says     string
	}{
		{"two handlers", []Binding{Noop(), Noop()}, `"noop" has two`},
		{"not in the catalogue", []Binding{Noop(), NoopEphemeral()}, `"noop:ephemeral" is not in the catalogue`},
		{"fine", []Binding{Noop()}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, logs := testkit.CaptureLog(t)
			w, err := New(Options{
				Config: testConfig, Runner: newStore(), Types: types, Handlers: test.handlers,
				Name: "w1", Log: log, Metrics: prometheus.NewRegistry(),
			})
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || w.Name() != "w1" {
				t.Fatalf("worker %v, %v", w, err)
			}
			if logs.Count("type=probe:stray") != 1 {
				t.Errorf("a type without a handler is not told:\n%s", logs)
			}
			// Never started: it stops all the same.
			if err := w.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
