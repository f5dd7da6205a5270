// Package limit keeps limits over all processes, in Redis. What must not wait
// and what can are two things:
//
// A Limiter answers a request now. It counts one budget a key by the generic
// cell rate algorithm. It protects and is no promise: while Redis is away or
// slow everything is allowed, which a metric counts and one log line an outage
// tells.
//
// A Fleet gives a job its turn. It keeps the rates and the concurrency of
// POSTRIDER_LIMITS exactly, and lets nobody through while Redis is away.
package limit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/outage"
)

const (
	// answerLimit bounds the wait for Redis: a request is not to be held up by
	// the question whether it comes too fast.
	answerLimit = 100 * time.Millisecond
	// retryPause is how long Redis is not asked after it failed, so that an
	// outage costs one request a second its wait, and not every one.
	retryPause = time.Second
	// keyPrefix sets our keys apart in a Redis that others use too; redis_rate
	// puts "rate:" before it.
	keyPrefix = "postrider:"
)

// Config holds the limits: the API's, and those on jobs.
type Config struct {
	Key    Rate   `env:"POSTRIDER_RATE_LIMIT_KEY" envDefault:"6000/m" help:"requests that one API key may make, over all api processes: such as 100/s, 6000/m, 100000/h or off; unused ones add up to one such period's worth"`
	Addr   Rate   `env:"POSTRIDER_RATE_LIMIT_ADDR" envDefault:"3000/m" help:"requests that may come from one address, in the same form"`
	Quotas Quotas `env:"POSTRIDER_QUOTAS" help:"how many jobs an API key may make in an hour or a day of UTC, over all api processes: name=N/h or name=N/d with commas between, such as shop=100000/d,shop=10000/h,*=5000/d; * is each key that is not named"`
	Jobs   Rules  `env:"POSTRIDER_LIMITS" help:"limits on jobs over all workers, which wait for their turn without an attempt being charged: jobs of a queue that begin or that run at a time, mails to a recipient's domain or through a provider of SMTP_URL; such as queue:bulk=100/s,queue:bulk.concurrency=20,domain:gmail.com=600/m,provider:main=50/s"`
}

// Limiter answers whether something may happen now. It is safe for concurrent
// use, needs no closing, and is a prometheus.Collector of its own counters.
type Limiter struct {
	redis *redis_rate.Limiter
	rdb   redis.UniversalClient
	log   *slog.Logger
	now   func() time.Time // of quotas' hours and days

	checks, spent *prometheus.CounterVec

	answerLimit time.Duration
	gate        *outage.Gate
}

// New returns a limiter that counts in rdb. The client must have
// ContextTimeoutEnabled, or go-redis does not heed the time that Allow gives it.
func New(rdb redis.UniversalClient, log *slog.Logger) *Limiter {
	return &Limiter{
		redis: redis_rate.NewLimiter(rdb), rdb: rdb, now: time.Now,
		log: log.With("component", "limit"),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_rate_limit_checks_total",
			Help: "Rate limit checks by outcome: allowed, limited, or unchecked because Redis was away.",
		}, []string{"outcome"}),
		spent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_quota_jobs_total",
			Help: "Jobs that were counted against quotas of API keys, by outcome: taken, refused, returned (no job was made of them after all), or unchecked because Redis was away.",
		}, []string{"outcome"}),
		answerLimit: answerLimit,
		gate:        outage.NewGate(retryPause),
	}
}

// Describe and Collect make the limiter a prometheus.Collector.
func (l *Limiter) Describe(ch chan<- *prometheus.Desc) {
	l.checks.Describe(ch)
	l.spent.Describe(ch)
}

// Collect passes on the counters' values.
func (l *Limiter) Collect(ch chan<- prometheus.Metric) {
	l.checks.Collect(ch)
	l.spent.Collect(ch)
}

// Decision is the answer to one question.
type Decision struct {
	Allowed bool
	// Remaining is how many more may happen at once.
	Remaining int
	// RetryAfter is how long to wait before as many may happen; 0 when allowed.
	RetryAfter time.Duration
	// Reset is after how long the whole budget is there again.
	Reset time.Duration
	// Limit is the rate that was asked about.
	Limit Rate
}

// Allow takes n from the key's budget and reports whether there was that much;
// when not, nothing is taken. A budget fills at the rate and holds one period's
// worth of it; n counts for at most that, since more would never be allowed.
//
// It errs only for n below 1 or when ctx itself ends; a Redis that does not
// answer within 100 ms means allowed.
func (l *Limiter) Allow(ctx context.Context, key string, rate Rate, n int) (Decision, error) {
	if n < 1 {
		return Decision{}, fmt.Errorf("asking for the rate limit: n is %d, want 1 or more", n)
	}
	open := Decision{Allowed: true, Remaining: rate.N, Limit: rate}
	if rate.Off() {
		return open, nil
	}
	if !l.gate.Open() {
		l.checks.WithLabelValues("unchecked").Inc()
		return open, nil
	}
	bounded, cancel := context.WithTimeout(ctx, l.answerLimit)
	defer cancel()
	result, err := l.redis.AllowN(bounded, keyPrefix+key, redis_rate.Limit{Rate: rate.N, Burst: rate.N, Period: rate.Per}, min(n, rate.N))
	if err != nil {
		if ctx.Err() != nil {
			return Decision{}, fmt.Errorf("asking for the rate limit: %w", context.Cause(ctx))
		}
		l.failed(err)
		l.checks.WithLabelValues("unchecked").Inc()
		return open, nil
	}
	l.answered()
	if result.Allowed == 0 {
		l.checks.WithLabelValues("limited").Inc()
		return Decision{RetryAfter: result.RetryAfter, Reset: result.ResetAfter, Limit: rate}, nil
	}
	l.checks.WithLabelValues("allowed").Inc()
	return Decision{Allowed: true, Remaining: result.Remaining, Reset: result.ResetAfter, Limit: rate}, nil
}

// failed begins or prolongs an outage.
func (l *Limiter) failed(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v: %w", l.answerLimit, err)
	}
	if l.gate.Failed() {
		l.log.Warn("rate limits are not kept: Redis does not answer", "error", err)
	}
}

// answered ends an outage.
func (l *Limiter) answered() {
	if l.gate.Answered() {
		l.log.Info("rate limits are kept again")
	}
}
