// Package fleet runs Postrider's own processes, as many as are asked for, on
// servers of the bench's own: what is measured here is the whole of it, each
// process as a user starts it.
package fleet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/bench/peers"
	"github.com/postrider/postrider/bench/stage"
	"github.com/postrider/postrider/internal/app"
)

// roles are the processes that there are.
var roles = map[string]app.Role{"api": app.API, "worker": app.Worker, "scheduler": app.Scheduler}

// IsProcess reports whether the program was started by Start, and has to call
// Serve.
func IsProcess(args []string) bool { return len(args) == 3 && args[0] == "process" }

// Serve is a process that Start has started from the program's own file. It runs
// until in ends.
func Serve(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	defer app.FloorHeap()() // as Postrider's own programs do
	role, known := roles[args[1]]
	if !known {
		return fmt.Errorf("there is no process %q", args[1])
	}
	return peers.ServeRole(ctx, role, strings.Split(args[2], "\n"), in, out)
}

// Process is one of Postrider's.
type Process struct {
	*stage.Actor
	Addr string // host:port of its HTTP
}

// Start starts a process, api, worker or scheduler, with the settings, and
// returns when it is ready.
func Start(ctx context.Context, role string, settings []string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding our own program: %w", err)
	}
	p := &Process{}
	p.Actor, err = stage.StartActor(ctx, role, exec.Command(self, "process", role, strings.Join(settings, "\n")), p)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Fleet is processes that work together. It is not safe for concurrent use.
type Fleet struct {
	API       *Process // nil before StartAPI
	Workers   []*Process
	Scheduler *Process // nil before StartScheduler
	settings  []string
	client    *http.Client
}

// New makes a fleet without processes, on a Redis (host:port) and a database,
// with what else is to be set.
func New(redis, database string, settings ...string) *Fleet {
	return &Fleet{
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
		settings: append([]string{
			"REDIS_URL=redis://" + redis + "/0", "DATABASE_URL=" + database, "POSTRIDER_HTTP_ADDR=127.0.0.1:0",
			"POSTRIDER_LOG_LEVEL=error", "POSTRIDER_RATE_LIMIT_KEY=off", "POSTRIDER_RATE_LIMIT_ADDR=off",
			"MAIL_FROM=Bench <bench@example.com>",
		}, settings...),
	}
}

// StartAPI starts the api.
func (f *Fleet) StartAPI(ctx context.Context) (err error) {
	f.API, err = Start(ctx, "api", f.settings)
	return err
}

// StartScheduler starts the scheduler.
func (f *Fleet) StartScheduler(ctx context.Context) (err error) {
	f.Scheduler, err = Start(ctx, "scheduler", f.settings)
	return err
}

// StartWorkers starts workers until there are so many.
func (f *Fleet) StartWorkers(ctx context.Context, n int) error {
	for len(f.Workers) < n {
		p, err := Start(ctx, "worker", f.settings)
		if err != nil {
			return err
		}
		f.Workers = append(f.Workers, p)
	}
	return nil
}

// StopWorkers ends all workers in good order.
func (f *Fleet) StopWorkers() error {
	var errs []error
	for _, p := range f.Workers {
		errs = append(errs, p.Close())
	}
	f.Workers = nil
	return errors.Join(errs...)
}

// Post asks the api for n jobs of the same kind (entry, a JSON object of
// POST /jobs/batch) in as few requests as it takes.
func (f *Fleet) Post(ctx context.Context, entry string, n int) error {
	const most = 10_000 // entries of a batch
	for ; n > 0; n -= most {
		body := `{"jobs":[` + strings.Repeat(entry+",", min(n, most)-1) + entry + `]}`
		if err := f.PostTo(ctx, "/jobs/batch", body); err != nil {
			return err
		}
	}
	return nil
}

// PostTo posts a body to the api's path, which must answer with 202. It may be
// called concurrently.
func (f *Fleet) PostTo(ctx context.Context, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.API.Addr+path, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := f.client.Do(req)
	if err != nil {
		return fmt.Errorf("posting to %s: %w", path, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("posting to %s: %s %.200s %w", path, res.Status, answer, err)
	}
	return nil
}

// Done is how many jobs of the type the workers have done, by their own metrics.
func (f *Fleet) Done(ctx context.Context, kind string) (int, error) {
	sum := 0
	for _, w := range f.Workers {
		n, err := f.metric(ctx, w.Addr, fmt.Sprintf("postrider_runs_total{outcome=%q,type=%q} ", "done", kind))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// Rate is how many jobs of the type the workers do in a second, over so long.
func (f *Fleet) Rate(ctx context.Context, kind string, over time.Duration) (float64, error) {
	before, err := f.Done(ctx, kind)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case <-time.After(over):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	after, err := f.Done(ctx, kind)
	return float64(after-before) / time.Since(began).Seconds(), err
}

// metric is a sample of a process' metrics, 0 where there is none.
func (f *Fleet) metric(ctx context.Context, addr, sample string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("making a request: %w", err)
	}
	res, err := f.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	defer res.Body.Close()
	n := 0
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), sample); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, fmt.Errorf("reading metrics: %w", err)
			}
			n = int(v)
		}
	}
	return n, lines.Err()
}

// Close ends all processes in good order.
func (f *Fleet) Close() error {
	f.client.CloseIdleConnections()
	errs := []error{f.StopWorkers()}
	for _, p := range []*Process{f.API, f.Scheduler} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}
