package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
)

// budget is a limit as its client is told of it.
type budget struct {
	name       string
	most, left int
	per        time.Duration
	reset      time.Duration // until all of it is there again
	window     bool          // it is there again at once, and not little by little
}

// spend takes one request from a budget. The key's, being the last to be spent,
// is the one that a client with a key is told of.
func (a *api) spend(ctx context.Context, w http.ResponseWriter, policy, key string, rate limit.Rate) error {
	d, err := a.limiter.Allow(ctx, key, rate, 1)
	if err != nil {
		return fmt.Errorf("checking the rate of the %s: %w", policy, err)
	}
	x := exchangeOf(ctx)
	x.head, x.budgets = w.Header(), []budget{{policy, rate.N, d.Remaining, rate.Per, d.Reset, false}}
	x.tellBudgets()
	if d.Allowed {
		return nil
	}
	p := newProblem(http.StatusTooManyRequests, job.CodeRateLimited, fmt.Sprintf("this %s has sent more than %s requests", policy, rate))
	p.retryAfter(d.RetryAfter)
	return p
}

// charged has accept make jobs at the expense of the caller's quotas, n at most.
// What makes no job after all, since it was met before or is refused, costs
// nothing.
func (a *api) charged(ctx context.Context, who job.Caller, n int, accept func() (job.Accepted, error)) (job.Accepted, error) {
	quotas := a.rates.Quotas.Of(who.Name)
	if len(quotas) == 0 {
		return accept()
	}
	if err := a.take(ctx, who.Name, quotas, n); err != nil {
		return job.Accepted{}, err
	}
	got, err := accept()
	made := 0
	for _, j := range got.Jobs {
		if err == nil && !got.Replayed && j.Err == nil {
			made++
		}
	}
	if made < n {
		// Given back even where the client has left. Redis' own troubles are no error.
		if err := a.take(context.WithoutCancel(ctx), who.Name, quotas, made-n); err != nil {
			a.log.Debug("a quota was not given back", "err", err)
		}
	}
	return got, err
}

// take takes n jobs from a key's quotas and tells its client what is left.
func (a *api) take(ctx context.Context, key string, quotas []limit.Quota, n int) error {
	left, full, err := a.limiter.Spend(ctx, key, quotas, n)
	if err != nil {
		return err
	}
	x := exchangeOf(ctx)
	x.budgets = x.budgets[:min(len(x.budgets), 1)] // the key's own
	for _, u := range left {
		name := "jobs-per-day"
		if u.Per == time.Hour {
			name = "jobs-per-hour"
		}
		x.budgets = append(x.budgets, budget{name, u.N, u.Left, u.Per, u.Reset, true})
	}
	x.tellBudgets()
	if full == nil {
		return nil
	}
	p := newProblem(http.StatusTooManyRequests, job.CodeRateLimited,
		fmt.Sprintf("this key may make %s jobs, and has %d left of them; this needs %d", full.Quota, full.Left, n))
	p.retryAfter(full.Reset)
	return p
}

// tellBudgets tells the client of the budgets by the fields of
// draft-ietf-httpapi-ratelimit-headers-10, and of the one of which the least is
// left by the three fields of the drafts until 06, which clients know.
func (x *exchange) tellBudgets() {
	if len(x.budgets) == 0 || x.head == nil {
		return
	}
	var policies, left []string
	tightest := x.budgets[0]
	for _, b := range x.budgets {
		policies = append(policies, fmt.Sprintf("%q;q=%d;w=%d", b.name, b.most, int(b.per.Seconds())))
		now := fmt.Sprintf("%q;r=%d", b.name, b.left)
		if b.window {
			now += ";t=" + wholeSeconds(b.reset)
		}
		left = append(left, now)
		if b.left < tightest.left {
			tightest = b
		}
	}
	x.head.Set("RateLimit-Policy", strings.Join(policies, ", "))
	x.head.Set("RateLimit", strings.Join(left, ", "))
	x.head.Set("RateLimit-Limit", strconv.Itoa(tightest.most))
	x.head.Set("RateLimit-Remaining", strconv.Itoa(tightest.left))
	x.head.Set("RateLimit-Reset", wholeSeconds(tightest.reset))
}

// wholeSeconds rounds up: nobody is to come too early.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
