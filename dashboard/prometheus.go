package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/internal/job"
)

const (
	// chartLimit bounds what asynqmon's metrics page has Prometheus asked for.
	chartLimit = 10 * time.Second
	// chartSize bounds one of its answers, in bytes.
	chartSize = 8 << 20
	// chartPoints is about how many points a chart has, and chartStep how far apart
	// they are at least.
	chartPoints = 2000
	chartStep   = 10 * time.Second
	// longestChart is the most that may be asked for.
	longestChart = 366 * 24 * time.Hour
)

// charts are the parts of the answer that asynqmon's metrics page expects, and
// where they come from (asynqmon v0.7.2, metrics_handler.go). Its own handler asks
// without a time limit, and shows each queue once for every scheduler that tells
// of it.
var charts = map[string]string{
	"queue_size":                      "max by (queue) (asynq_queue_size{FILTER})",
	"queue_latency_seconds":           "max by (queue) (asynq_queue_latency_seconds{FILTER})",
	"queue_memory_usage_approx_bytes": "max by (queue) (asynq_queue_memory_usage_approx_bytes{FILTER})",
	"tasks_processed_per_second":      "max by (queue) (rate(asynq_tasks_processed_total{FILTER}[5m]))",
	"tasks_failed_per_second":         "max by (queue) (rate(asynq_tasks_failed_total{FILTER}[5m]))",
	"error_rate":                      "max by (queue) (rate(asynq_tasks_failed_total{FILTER}[5m])) / max by (queue) (rate(asynq_tasks_processed_total{FILTER}[5m]))",
	"pending_tasks_by_queue":          `max by (queue) (asynq_tasks_enqueued_total{state="pending",FILTER})`,
	"retry_tasks_by_queue":            `max by (queue) (asynq_tasks_enqueued_total{state="retry",FILTER})`,
	"archived_tasks_by_queue":         `max by (queue) (asynq_tasks_enqueued_total{state="archived",FILTER})`,
}

// charting asks the Prometheus of POSTRIDER_PROMETHEUS_URL, and nobody to whom
// that would send it on: the URL may hold a password.
var charting = &http.Client{
	Timeout:       chartLimit,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// chartsOf answers asynqmon's metrics page, which asks with duration and endtime in
// seconds and with queues, separated by commas.
func (m *monitor) chartsOf(w http.ResponseWriter, r *http.Request) {
	params, filter, err := m.chartQuery(r.URL.Query())
	if err != nil {
		m.d.refuse(w, r, err)
		return
	}
	answers := make([]json.RawMessage, len(charts))
	names := slices.Sorted(maps.Keys(charts))
	all, ctx := errgroup.WithContext(r.Context())
	for i, name := range names {
		all.Go(func() (err error) {
			one := maps.Clone(params)
			one.Set("query", strings.ReplaceAll(charts[name], "FILTER", filter))
			answers[i], err = askPrometheus(ctx, m.d.Prometheus, one)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		m.d.refuse(w, r, job.Wrap(job.CodeTemporary, err, "Prometheus does not answer"))
		return
	}
	out := make(map[string]json.RawMessage, len(names))
	for i, name := range names {
		out[name] = answers[i]
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // a browser that has left needs no charts
}

// chartQuery reads what the page asks for. Of queues only those that there are go
// into a query.
func (m *monitor) chartQuery(q url.Values) (params url.Values, filter string, err error) {
	seconds := func(name string, otherwise int64) int64 {
		text := q.Get(name)
		if text == "" {
			return otherwise
		}
		n, wrong := strconv.ParseInt(text, 10, 64)
		if wrong != nil || n < 1 {
			err = job.Errorf(job.CodeInvalid, "%s must be a number of seconds", name)
		}
		return n
	}
	length := min(time.Duration(seconds("duration", 3600)), longestChart/time.Second) * time.Second
	end := seconds("endtime", time.Now().Unix())
	if err != nil {
		return nil, "", err
	}
	queues := slices.DeleteFunc(strings.Split(q.Get("queues"), ","), func(name string) bool { return !slices.Contains(m.d.Queues, name) })
	if len(queues) > 0 {
		filter = `queue=~"` + strings.Join(queues, "|") + `"`
	}
	step := max(length/chartPoints, chartStep)
	return url.Values{
		"start": {strconv.FormatInt(end-int64(length/time.Second), 10)}, "end": {strconv.FormatInt(end, 10)},
		"step": {strconv.Itoa(int(step / time.Second))},
	}, filter, nil
}

// askPrometheus returns Prometheus' answer to a query over a range, as it is.
func askPrometheus(ctx context.Context, base *url.URL, params url.Values) (json.RawMessage, error) {
	at := base.JoinPath("api/v1/query_range")
	at.RawQuery = params.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking Prometheus: %w", err)
	}
	res, err := charting.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking Prometheus: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, chartSize))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of Prometheus: %w", err)
	}
	if !json.Valid(body) {
		return nil, fmt.Errorf("reading the answer of Prometheus: %s, and no JSON", res.Status)
	}
	return body, nil
}

// shownAddress is where the page's links to Prometheus lead, without a password;
// "" for no metrics page.
func shownAddress(u *url.URL) string {
	if u == nil {
		return ""
	}
	shown := *u
	shown.User = nil
	return strings.TrimSuffix(shown.String(), "/")
}
