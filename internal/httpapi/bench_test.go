package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
)

// BenchmarkPostJob is what a request costs here and in the domain, with a queue
// that takes everything at no cost.
func BenchmarkPostJob(b *testing.B) {
	s := serve(b, func(o *Options) {
		o.Log = slog.New(slog.DiscardHandler)
		o.Jobs = job.NewService(job.Options{
			Store: jobtest.NewMemory(), Dispatcher: &bottomless{Dispatcher: jobtest.NewDispatcher()},
			Types: o.Types, Queues: []string{"default"}, Log: o.Log, Metrics: prometheus.NewRegistry(),
		})
	})
	body := `{"type":"noop:ephemeral","payload":{"pad":"` + strings.Repeat("0", 120) + `"}}`
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "http://localhost/jobs", nil)
	r.Header.Set("Content-Type", "application/json")
	b.ReportAllocs()
	for b.Loop() {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		w := discard{header: http.Header{}}
		s.ServeHTTP(&w, r)
		if w.status != http.StatusAccepted {
			b.Fatalf("the answer is %d", w.status)
		}
	}
}

// bottomless takes every task and keeps none.
type bottomless struct{ *jobtest.Dispatcher }

func (bottomless) Dispatch(_ context.Context, tasks []job.Task) ([]job.Task, error) {
	return tasks, nil
}

// discard is an answer that nobody reads.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
