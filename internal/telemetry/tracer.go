package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceConfig says where traces go, by OpenTelemetry's own variables; nowhere
// unless an endpoint or an exporter is set.
type TraceConfig struct {
	Disabled       bool   `env:"OTEL_SDK_DISABLED" envDefault:"false" help:"make no traces, whatever else is set"`
	Exporter       string `env:"OTEL_TRACES_EXPORTER" help:"otlp or none; otlp when an endpoint is set"`
	Endpoint       string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" secret:"true" help:"where traces go by OTLP over HTTP, such as http://collector:4318; no traces are made when empty, see docs/observe.md"`
	TracesEndpoint string `env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" secret:"true" help:"the same with its whole path, such as http://collector:4318/v1/traces"`
	Protocol       string `env:"OTEL_EXPORTER_OTLP_PROTOCOL" envDefault:"http/protobuf" help:"http/protobuf, and no other"`
	Headers        string `env:"OTEL_EXPORTER_OTLP_HEADERS" secret:"true" help:"headers for the collector: name=value,…"`
	Service        string `env:"OTEL_SERVICE_NAME" help:"the name that traces show for the process; postrider-api, postrider-worker… when empty"`
	Sampler        string `env:"OTEL_TRACES_SAMPLER" envDefault:"parentbased_always_on" help:"which traces are kept: always_on, always_off, traceidratio, or with parentbased_ before it"`
	SamplerArg     string `env:"OTEL_TRACES_SAMPLER_ARG" envDefault:"1" help:"the share that traceidratio keeps, from 0 to 1"`
}

// Enabled reports whether traces are made.
func (c TraceConfig) Enabled() bool {
	return !c.Disabled && c.Exporter != "none" && (c.Exporter == "otlp" || c.Endpoint != "" || c.TracesEndpoint != "")
}

// Validate reports every setting that cannot work, by its variable's name.
func (c TraceConfig) Validate() error {
	if !c.Enabled() {
		return nil
	}
	var errs []error
	if c.Exporter != "" && c.Exporter != "otlp" {
		errs = append(errs, fmt.Errorf("OTEL_TRACES_EXPORTER must be otlp or none, and is %q", c.Exporter))
	}
	if c.Protocol != "http/protobuf" {
		errs = append(errs, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, and is %q", c.Protocol))
	}
	if u, err := url.Parse(c.endpoint()); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https URL"))
	}
	if _, err := c.headers(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.sampler(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// endpoint is where traces are posted to (OpenTelemetry's specification of the
// exporter: the common endpoint is followed by v1/traces).
func (c TraceConfig) endpoint() string {
	switch {
	case c.TracesEndpoint != "":
		return c.TracesEndpoint
	case c.Endpoint != "":
		return strings.TrimSuffix(c.Endpoint, "/") + "/v1/traces"
	}
	return "http://localhost:4318/v1/traces"
}

// headers reads OTEL_EXPORTER_OTLP_HEADERS, whose values are percent-encoded.
func (c TraceConfig) headers() (map[string]string, error) {
	out := map[string]string{}
	for pair := range strings.SplitSeq(c.Headers, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs with commas between")
		}
		out[strings.TrimSpace(name)] = value
	}
	return out, nil
}

func (c TraceConfig) sampler() (sdktrace.Sampler, error) {
	name, byParent := strings.CutPrefix(c.Sampler, "parentbased_")
	var s sdktrace.Sampler
	switch name {
	case "always_on":
		s = sdktrace.AlwaysSample()
	case "always_off":
		s = sdktrace.NeverSample()
	case "traceidratio":
		share, err := strconv.ParseFloat(c.SamplerArg, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG must be from 0 to 1, and is %q", c.SamplerArg)
		}
		s = sdktrace.TraceIDRatioBased(share)
	default:
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER must be always_on, always_off or traceidratio, or one of them with parentbased_ before it, and is %q", c.Sampler)
	}
	if byParent {
		s = sdktrace.ParentBased(s)
	}
	return s, nil
}

// Tracer begins traces and takes up those of others. A nil Tracer makes none and
// costs nothing.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// scope names us to who reads traces.
const scope = "github.com/postrider/postrider"

// exportLimit bounds one export.
const exportLimit = 10 * time.Second

// NewTracer makes the Tracer of a process, nil where Config wants none. Stop it.
// That the collector is away is logged, once an outage, and holds nothing up:
// spans that find no room are dropped.
func NewTracer(ctx context.Context, c TraceConfig, process, instance string, log *slog.Logger) (*Tracer, error) {
	if !c.Enabled() {
		return nil, nil
	}
	sampler, err := c.sampler()
	if err != nil {
		return nil, err
	}
	headers, err := c.headers()
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.endpoint()), otlptracehttp.WithHeaders(headers), otlptracehttp.WithTimeout(exportLimit))
	if err != nil {
		return nil, fmt.Errorf("making the exporter of traces: %w", err)
	}
	if c.Service == "" {
		c.Service = "postrider-" + strings.TrimPrefix(process, "postrider-")
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", c.Service), attribute.String("service.instance.id", instance),
	))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("describing the process to traces: %w", err), exporter.Shutdown(ctx))
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sampler), sdktrace.WithResource(about),
		sdktrace.WithBatcher(&toldExporter{SpanExporter: exporter, log: log.With("component", "traces")}),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer(scope)}, nil
}

// Stop sends what is left, as long as ctx lasts, and ends.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("sending the last traces: %w", err)
	}
	return nil
}

// toldExporter logs the beginning and the end of an outage, which OpenTelemetry
// would write to standard error each time.
type toldExporter struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	away atomic.Bool
}

func (e *toldExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && e.away.CompareAndSwap(false, true):
		e.log.Warn("traces cannot be sent; they are dropped until they can", "err", err)
	case err == nil && e.away.CompareAndSwap(true, false):
		e.log.Info("traces are sent again")
	}
	return nil
}

// traceHeader is where a trace stands (W3C Trace Context section 3.2).
var traceHeader propagation.TraceContext

// Begin begins a span below that of ctx, or a trace.
func (t *Tracer) Begin(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, Span{span}
}

// Serve begins the span of a request, as part of the trace that its header
// names, if it does.
func (t *Tracer) Serve(ctx context.Context, header propagation.TextMapCarrier) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(traceHeader.Extract(ctx, header), "request", trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{span}
}

// Resume begins a span of the trace that a Traceparent names, as if it had begun
// at that time. Without one there is none: what was not traced from its beginning
// is not traced.
func (t *Tracer) Resume(ctx context.Context, traceparent, name string, began time.Time) (context.Context, Span) {
	if t == nil || traceparent == "" {
		return ctx, Span{}
	}
	ctx = traceHeader.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(began))
	return ctx, Span{span}
}
