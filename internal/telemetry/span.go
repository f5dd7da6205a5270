package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Span is a part of a trace that is under way. The zero Span is one that nobody
// records: its methods do nothing. What is Set on one may be ids and names of
// ours, never addresses or bodies.
type Span struct{ span trace.Span }

// Child begins a span below that of ctx. Where ctx has none that is recorded it
// returns ctx itself, and nothing is allocated.
func Child(ctx context.Context, name string) (context.Context, Span) {
	return ChildSince(ctx, name, time.Time{})
}

// ChildSince is Child for what began at that time; zero is now.
func ChildSince(ctx context.Context, name string, began time.Time) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	if began.IsZero() {
		began = time.Now()
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(began))
	return ctx, Span{span}
}

// Recorded reports whether the span is.
func (s Span) Recorded() bool { return s.span != nil && s.span.IsRecording() }

// Name gives the span another name.
func (s Span) Name(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Set adds an attribute.
func (s Span) Set(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// SetInt adds an attribute.
func (s Span) SetInt(key string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Fail marks the span as failed, with a word for why: errors' own texts may hold
// addresses.
func (s Span) Fail(why string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, why)
	}
}

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// In returns ctx with the span in it, for what is done in another context than
// the one that the span was begun in.
func (s Span) In(ctx context.Context) context.Context {
	if s.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// TraceID names the span's trace, for the log; "" where it is not recorded.
func (s Span) TraceID() string {
	if !s.Recorded() {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// Traceparent is where the trace of ctx stands (W3C Trace Context section 3.2,
// 55 characters), for Resume in another process; "" where none is recorded.
func Traceparent(ctx context.Context) string {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	traceHeader.Inject(ctx, carrier)
	return carrier["traceparent"]
}
