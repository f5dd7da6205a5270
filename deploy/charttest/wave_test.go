package charttest

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"

	"github.com/postrider/postrider/internal/testkit"
)

// The wave: jobs that take jobTime each, calm of them a second at first, then
// twice as many every doubling until it is over, at its height for a while, and
// calm again.
const (
	jobTime  = 200 * time.Millisecond
	calm     = 15.0
	doubling = 20 * time.Second
	doubled  = 3

	risesAt = 10 * time.Second
	highAt  = risesAt + doubled*doubling
	fallsAt = highAt + 15*time.Second
	overAt  = fallsAt + 45*time.Second
)

// rate is how many jobs a second there are to be.
func rate(at time.Duration) float64 {
	if at > fallsAt {
		return calm
	}
	return calm * math.Exp2(float64(min(max(at, risesAt), highAt)-risesAt)/float64(doubling))
}

// A worker runs waveSlots jobs at a time, so 25 a second.
const waveSlots = 5

var waveValues = fmt.Sprintf(`
workers: {main: {queues: {default: %d}, autoscaling: {kind: keda, min: 2, max: 12}}}
prometheus: {podMonitor: true, selector: 'job!=""'}
`, waveSlots)

// downWindow stands for the five minutes for which the chart keeps workers that
// are not needed any more: the test does not last that long.
const downWindow = 30

// longest is how long a job may wait at most while the rule scales.
const longest = 5 * time.Second

// The rule of the chart, asked of a real Prometheus and carried out on real
// worker processes, keeps every job from waiting for long under a wave of load,
// and loses and repeats none. It takes minutes, and so needs POSTRIDER_TEST_ALL=1.
func TestWave(t *testing.T) {
	if os.Getenv("POSTRIDER_TEST_ALL") == "" {
		return
	}
	r := rendered(t, values(t, waveValues))
	f := startScaled(t, r)
	began := time.Now()
	var pouring sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer pouring.Wait()
	defer stop()
	accepted := 0
	pouring.Go(func() { accepted = pour(ctx, t, f.api.Addr, began) })

	most, sync := 0, time.NewTicker(syncPeriod)
	defer sync.Stop()
	for now := range sync.C {
		f.scale(now.Sub(began))
		most = max(most, len(f.workers))
		if now.Sub(began) > overAt {
			break
		}
	}
	stop()
	pouring.Wait()
	testkit.WaitFor(t, time.Minute, "all jobs to be over", func() bool {
		return f.count(`SELECT count(*) FROM jobs WHERE type = 'noop' AND state IN ('waiting', 'running')`) == 0
	})
	done := f.count(`SELECT count(*) FROM jobs WHERE type = 'noop' AND state = 'done'`)
	again := f.count(`SELECT count(*) FROM jobs WHERE type = 'noop' AND runs <> 1`)
	waited := time.Duration(f.count(`SELECT max(e.at - j.run_at) FROM jobs j JOIN job_events e ON e.job_id = j.id
		WHERE j.type = 'noop' AND e.kind = 'started'`)) * time.Millisecond
	t.Logf("%d jobs, the longest waited %v; %d workers at most, %d in the end", done, waited, most, len(f.workers))
	if done != accepted || again != 0 {
		t.Errorf("of %d jobs %d are done, and %d have not run just once", accepted, done, again)
	}
	if waited >= longest {
		t.Errorf("a job waited %v, want less than %v", waited, longest)
	}
	if len(f.workers) > most/2 || most < 6 {
		t.Errorf("there were %d workers at most and %d in the end", most, len(f.workers))
	}
}

// scaled is a fleet whose workers the chart's rule decides on.
type scaled struct {
	t          *testing.T
	db         *sql.DB
	prometheus *testkit.Prometheus
	rule       *keda.ScaledObject
	autoscaler autoscaler

	api        *testkit.Service
	schedulers []*testkit.Service
	workers    []*testkit.Service
	leaving    []*testkit.Service
	newWorker  func() *testkit.Service
}

func startScaled(t *testing.T, r release) *scaled {
	t.Helper()
	interval, err := time.ParseDuration(string(r.monitors[0].Spec.PodMetricsEndpoints[0].Interval))
	if err != nil {
		t.Fatal(err)
	}
	rule := r.scaled[0]
	behavior := rule.Spec.Advanced.HorizontalPodAutoscalerConfig.Behavior
	*behavior.ScaleDown.StabilizationWindowSeconds = downWindow
	f := &scaled{
		t: t, rule: rule, prometheus: testkit.NewPrometheus(t, interval),
		autoscaler: autoscaler{min: int(*rule.Spec.MinReplicaCount), max: int(*rule.Spec.MaxReplicaCount), behavior: behavior},
	}
	database, redis := testkit.Postgres(t), testkit.Redis(t, "maxmemory-policy noeviction").URL()
	if f.db, err = sql.Open("pgx", database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.db.Close() })
	bin := programs(t)
	start := func(program, owner string) *testkit.Service {
		s := testkit.NewService(t, []string{
			"DATABASE_URL=" + database, "REDIS_URL=" + redis, "SMTP_URL=smtp://127.0.0.1:25?tls=none", "MAIL_FROM=nobody@example.com",
			"POSTRIDER_RATE_LIMIT_ADDR=off", "POSTRIDER_QUEUES=" + env(r.pods()[owner])["POSTRIDER_QUEUES"],
		}, filepath.Join(bin, program))
		s.Start()
		return s
	}
	f.api = start("api", "post-postrider-api")
	f.api.AwaitReady() // it migrates
	for range 2 {
		f.schedulers = append(f.schedulers, start("scheduler", "post-postrider-scheduler"))
	}
	f.newWorker = func() *testkit.Service { return start("worker", rule.Spec.ScaleTargetRef.Name) }
	f.to(f.autoscaler.min)
	for _, s := range slices.Concat(f.schedulers, f.workers) {
		s.AwaitReady()
	}
	for _, trigger := range rule.Spec.Triggers {
		testkit.WaitFor(t, 2*time.Minute, "Prometheus to know "+trigger.Name, func() bool { return f.read(trigger).known })
	}
	return f
}

// read asks for a trigger's metric as KEDA does, which takes one value and no
// other number of them.
func (f *scaled) read(trigger keda.ScaleTriggers) reading {
	f.t.Helper()
	threshold, err := strconv.ParseFloat(trigger.Metadata["threshold"], 64)
	if err != nil || trigger.MetricType != "Value" || trigger.Metadata["ignoreNullValues"] != "false" {
		f.t.Fatalf("this test does not know how KEDA reads %+v", trigger)
	}
	got := f.prometheus.Ask(trigger.Metadata["query"])
	if len(got) != 1 {
		return reading{}
	}
	return reading{got[0] / threshold, true}
}

// scale decides once, and carries it out.
func (f *scaled) scale(at time.Duration) {
	f.t.Helper()
	var readings []reading
	var told strings.Builder
	for _, trigger := range f.rule.Spec.Triggers {
		r := f.read(trigger)
		readings = append(readings, r)
		fmt.Fprintf(&told, ", %s %.2f of its target", trigger.Name, r.ratio)
	}
	before := len(f.workers)
	desired, err := f.autoscaler.decide(time.Now(), before, readings)
	if err != nil {
		f.t.Errorf("after %v: %v", at, err)
	}
	f.t.Logf("%4.0f s: %3.0f jobs/s%s: %d workers, to be %d", at.Seconds(), rate(at), &told, before, desired)
	f.to(desired)
}

// to has so many workers. Those that end are asked for their metrics until they
// have ended.
func (f *scaled) to(n int) {
	f.t.Helper()
	for len(f.workers) < n {
		f.workers = append(f.workers, f.newWorker())
	}
	for _, s := range f.workers[n:] {
		s.Terminate()
		f.leaving = append(f.leaving, s)
	}
	f.workers = f.workers[:n]
	f.leaving = slices.DeleteFunc(f.leaving, func(s *testkit.Service) bool {
		code, ended := s.Exited()
		if ended && code != 0 {
			f.t.Errorf("a worker was told to end, and ended with %d:\n%s", code, s.Output())
		}
		return ended
	})
	addrs := func(of []*testkit.Service) (out []string) {
		for _, s := range of {
			out = append(out, s.Addr)
		}
		return out
	}
	f.prometheus.Watch(map[string][]string{
		"api": {f.api.Addr}, "scheduler": addrs(f.schedulers), "worker": addrs(slices.Concat(f.workers, f.leaving)),
	})
}

func (f *scaled) count(query string) int {
	f.t.Helper()
	var n sql.NullInt64
	if err := f.db.QueryRowContext(f.t.Context(), query).Scan(&n); err != nil {
		f.t.Fatalf("%v: %s", err, query)
	}
	return int(n.Int64)
}

// pour posts jobs at the wave's rate until ctx ends, and returns how many were
// accepted. What a busy machine keeps it from posting comes with the next.
func pour(ctx context.Context, t *testing.T, api string, began time.Time) (accepted int) {
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	entry := fmt.Sprintf(`{"type":"noop","payload":{"sleep_ms":%d}}`, jobTime.Milliseconds())
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	due, last := 0.0, began
	for {
		select {
		case <-ctx.Done():
			return accepted
		case now := <-tick.C:
			due += rate(now.Sub(began)) * now.Sub(last).Seconds()
			last = now
		}
		n := int(due)
		if n == 0 {
			continue
		}
		due -= float64(n)
		body := `{"jobs":[` + strings.Repeat(entry+",", n-1) + entry + `]}`
		res, err := client.Post("http://"+api+"/jobs/batch", "application/json", strings.NewReader(body))
		if err != nil {
			t.Errorf("posting %d jobs: %v", n, err)
			return accepted
		}
		res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			t.Errorf("posting %d jobs: %s", n, res.Status)
			return accepted
		}
		accepted += n
	}
}
