package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// trips counts the round trips to Redis.
type trips struct{ n atomic.Int64 }

func (t *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (t *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { t.n.Add(1); return next(ctx, cmd) }
}

func (t *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { t.n.Add(1); return next(ctx, cmds) }
}

// BenchmarkInboxRead asks for an inbox of four streams with a hundred
// notifications each, kept and not, and tells the median and how many statements
// of SQL and round trips to Redis a request takes.
func BenchmarkInboxRead(b *testing.B) {
	log := slog.New(slog.DiscardHandler)
	for _, db := range []struct{ name, url string }{
		{"sqlite", "sqlite:" + filepath.Join(b.TempDir(), "bench.db")}, {"postgres", testkit.Postgres(b)},
	} {
		reg := prometheus.NewRegistry()
		s, err := store.Open(b.Context(), store.Config{URL: db.url, AutoMigrate: true}, log, store.Options{Metrics: reg})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		for i := range 400 {
			stream := []string{"user:ann", "room:a", "room:b", inbox.Everyone}[i%4]
			if _, _, err := s.Post(b.Context(), inbox.Notification{ID: job.NewID(), Stream: stream, Type: "info", Message: "Your order has been shipped.", Data: []byte(`{"order":1001}`)}); err != nil {
				b.Fatal(err)
			}
		}
		for _, kept := range []bool{false, true} {
			options := testkit.Redis(b).Options()
			options.ContextTimeoutEnabled = true
			if !kept { // nobody is there: all is made of SQL, at once
				options.Dialer = func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
			}
			rdb, count := redis.NewClient(options), &trips{}
			rdb.AddHook(count)
			b.Cleanup(func() { _ = rdb.Close() })
			answers := cache.NewStore(cache.StoreOptions{Redis: rdb, Log: log})
			b.Cleanup(answers.Stop)
			api := serve(b, func(o *Options) {
				o.Log, o.Cache, o.Inbox = log, answers, inbox.NewService(s, nil)
			})
			for _, path := range []string{"", "/unread-count"} {
				b.Run(fmt.Sprintf("%s/list%s/kept=%v", db.name, path, kept), func(b *testing.B) {
					var took []time.Duration
					statements, asked := statementsOf(b, reg), count.n.Load()
					for b.Loop() {
						r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "http://localhost/api/notifications/ann"+path+"?room=a&room=b", nil)
						w := discard{header: http.Header{}}
						began := time.Now()
						api.ServeHTTP(&w, r)
						took = append(took, time.Since(began))
						if w.status != http.StatusOK {
							b.Fatalf("the answer is %d", w.status)
						}
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
					b.ReportMetric((statementsOf(b, reg)-statements)/float64(len(took)), "sql/op")
					b.ReportMetric(float64(count.n.Load()-asked)/float64(len(took)), "redis/op")
				})
			}
		}
	}
}

// statementsOf is how often the database was read.
func statementsOf(b *testing.B, from prometheus.Gatherer) float64 {
	families, err := from.Gather()
	if err != nil {
		b.Fatal(err)
	}
	n := uint64(0)
	for _, f := range families {
		if f.GetName() == "postrider_sql_seconds" {
			for _, m := range f.Metric {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return float64(n)
}
