package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/internal/testkit"
)

func traceConfig(endpoint string) telemetry.TraceConfig {
	return telemetry.TraceConfig{Endpoint: endpoint, Protocol: "http/protobuf", Sampler: "parentbased_always_on", SamplerArg: "1"}
}

func TestTraceConfig(t *testing.T) {
	for name, test := range map[string]struct {
		change       func(*telemetry.TraceConfig)
		enabled, bad bool
	}{
		"as it comes":   {func(c *telemetry.TraceConfig) { c.Endpoint = "" }, false, false},
		"an endpoint":   {func(*telemetry.TraceConfig) {}, true, false},
		"an exporter":   {func(c *telemetry.TraceConfig) { c.Endpoint, c.Exporter = "", "otlp" }, true, false},
		"none":          {func(c *telemetry.TraceConfig) { c.Exporter = "none" }, false, false},
		"disabled":      {func(c *telemetry.TraceConfig) { c.Disabled = true }, false, false},
		"grpc":          {func(c *telemetry.TraceConfig) { c.Protocol = "grpc" }, true, true},
		"no URL":        {func(c *telemetry.TraceConfig) { c.Endpoint = "collector:4318" }, true, true},
		"a header":      {func(c *telemetry.TraceConfig) { c.Headers = "authorization=Bearer%20x, b=c" }, true, false},
		"half a header": {func(c *telemetry.TraceConfig) { c.Headers = "authorization" }, true, true},
		"a share":       {func(c *telemetry.TraceConfig) { c.Sampler, c.SamplerArg = "traceidratio", "0.1" }, true, false},
		"a large share": {func(c *telemetry.TraceConfig) { c.Sampler, c.SamplerArg = "parentbased_traceidratio", "2" }, true, true},
		"no sampler":    {func(c *telemetry.TraceConfig) { c.Sampler = "sometimes" }, true, true},
	} {
		c := traceConfig("http://127.0.0.1:1")
		test.change(&c)
		if err := c.Validate(); c.Enabled() != test.enabled || (err != nil) != test.bad {
			t.Errorf("%s: enabled %v, %v", name, c.Enabled(), err)
		}
	}
}

// Without a trace nothing is done, and nothing is allocated.
func TestUntracedCostsNothing(t *testing.T) {
	var off *telemetry.Tracer
	ctx := t.Context()
	allocs := testing.AllocsPerRun(100, func() {
		ctx, root := off.Begin(ctx, "root")
		ctx, child := telemetry.Child(ctx, "child")
		child.Set("a", "b")
		_, again := off.Resume(ctx, telemetry.Traceparent(ctx), "again", time.Time{})
		again.End()
		child.End()
		root.End()
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// A trace goes on from its traceparent. What the sampler leaves out has none.
func TestTraceGoesOn(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(collector.Close)
	c := traceConfig(collector.URL)
	tracer := newTracer(t, c)
	ctx, root := tracer.Begin(t.Context(), "root")
	parent := telemetry.Traceparent(ctx)
	_, run := tracer.Resume(t.Context(), parent, "run", time.Now())
	if len(parent) != 55 || root.TraceID() == "" || run.TraceID() != root.TraceID() {
		t.Errorf("%q of %q goes on as %q", parent, root.TraceID(), run.TraceID())
	}
	for _, bad := range []string{"", "nonsense", parent[:53] + "00"} {
		if _, span := tracer.Resume(t.Context(), bad, "run", time.Now()); span.Recorded() {
			t.Errorf("%q was taken up", bad)
		}
	}
	c.Sampler = "always_off"
	if ctx, span := newTracer(t, c).Begin(t.Context(), "root"); span.Recorded() || telemetry.Traceparent(ctx) != "" {
		t.Error("the sampler was not asked")
	}
}

func newTracer(t *testing.T, c telemetry.TraceConfig) *telemetry.Tracer {
	t.Helper()
	tracer, err := telemetry.NewTracer(t.Context(), c, "test", "test-1", testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := tracer.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return tracer
}
