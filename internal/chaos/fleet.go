package chaos

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// How many processes of each kind there are.
const (
	apiCount       = 2
	workerCount    = 3
	schedulerCount = 2
)

// restartAfter is how long a process that has ended stays away, as under
// systemd with RestartSec=1.
const restartAfter = time.Second

// Engine is the Redis of a run: one of the three.
type Engine struct {
	Single   *testkit.RedisServer // each process reaches it through a proxy
	Sentinel *testkit.RedisSentinel
	Cluster  *testkit.RedisCluster
}

// fleet is the processes of a run.
type fleet struct {
	t          testing.TB
	apis       []*process
	workers    []*process
	schedulers []*process
	leaving    []*process // workers that were told to end for good, until they have
	hire       func()     // starts one more worker, and does not wait for it
}

// process is one of our programs: when it ends it is started again.
type process struct {
	*testkit.Service
	name            string
	redis, postgres *testkit.FaultProxy // none on hosts; redis only of Engine.Single
	suspended       bool
	lost            *mark     // of its suspension
	restartAt       time.Time // zero while it runs
	lives           int
	host            Host // nil without hosts
}

// startFleet starts all processes and returns when all are ready.
func startFleet(t testing.TB, plan Plan, database, smtp string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	common := []string{
		"SMTP_URL=" + smtp, "POSTRIDER_TIMETABLE=" + writeTimetable(t),
		"POSTRIDER_RATE_LIMIT_ADDR=off", "POSTRIDER_RATE_LIMIT_KEY=off",
		"POSTRIDER_API_KEYS=chaos:" + secret + ":jobs:write+jobs:read+schedules:write+notifications",
	}
	start := func(n, host int, kind, path string) *process {
		p := &process{name: fmt.Sprintf("%s %d", kind, n), host: plan.Hosts.app(host)}
		p.place(t, plan.Engine, common, database, path)
		p.Start()
		return p
	}
	several := func(n, first int, kind, path string) (all []*process) {
		for i := range n {
			p := start(i+1, first+i, kind, path)
			p.AwaitReady() // one after another: the first migrates
			all = append(all, p)
		}
		return all
	}
	f.apis = several(apiCount, 0, "api", plan.Programs.API)
	f.schedulers = several(schedulerCount, 1, "scheduler", plan.Programs.Scheduler)
	f.workers = several(workerCount, 0, "worker", plan.Programs.Worker)
	hired := workerCount
	f.hire = func() {
		f.workers = append(f.workers, start(hired+1, hired, "worker", plan.Programs.Worker))
		hired++
	}
	return f
}

// place gives the process its address, and its ways to Redis and PostgreSQL.
func (p *process) place(t testing.TB, engine Engine, common []string, database, path string) {
	t.Helper()
	environ := common[:len(common):len(common)]
	if p.host != nil {
		environ = append(environ, "DATABASE_URL="+database, "REDIS_URL="+engine.Single.URL())
		p.Service = testkit.NewServiceOn(t, p.host.IP(), environ, path)
		return
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	p.postgres = testkit.TCPProxy(t, u.Host)
	environ = append(environ, "DATABASE_URL="+through(t, database, p.postgres), "REDIS_URL="+engine.url(t, p))
	p.Service = testkit.NewService(t, environ, path)
}

// Start starts the process on its host.
func (p *process) Start() {
	if p.host == nil {
		p.Service.Start()
		return
	}
	p.host.Do(p.Service.Start)
}

// url is the process's REDIS_URL.
func (e Engine) url(t testing.TB, p *process) string {
	t.Helper()
	switch {
	case e.Sentinel != nil:
		return e.Sentinel.URL()
	case e.Cluster != nil:
		return e.Cluster.URL()
	default:
		p.redis = testkit.TCPProxy(t, e.Single.Addr)
		return through(t, e.Single.URL(), p.redis)
	}
}

// addrs are the addresses of the apis.
func (f *fleet) addrs() []string {
	var out []string
	for _, p := range f.apis {
		out = append(out, p.Addr)
	}
	return out
}

func (f *fleet) all() []*process {
	var out []*process
	for _, group := range [][]*process{f.apis, f.schedulers, f.workers} {
		out = append(out, group...)
	}
	return out
}

// dismiss has a worker not be started again when it ends.
func (f *fleet) dismiss(p *process) {
	f.workers = slices.DeleteFunc(f.workers, func(w *process) bool { return w == p })
}

// supervise starts anew what has ended, a moment later. Only a signal of ours,
// a SIGTERM and a start that failed may have ended it. A worker that was told to
// end for good must do so without an error.
func (f *fleet) supervise() {
	f.t.Helper()
	f.leaving = slices.DeleteFunc(f.leaving, func(p *process) bool {
		code, ended := p.Exited()
		if ended && code != 0 {
			f.t.Errorf("%s was told to end, and ended with %d:\n%s", p.name, code, p.Output())
		}
		return ended
	})
	for _, p := range f.all() {
		code, ended := p.Exited()
		switch {
		case !ended:
		case p.restartAt.IsZero():
			if code > 1 {
				f.t.Errorf("%s ended by itself with %d:\n%s", p.name, code, p.Output())
			}
			p.restartAt = time.Now().Add(restartAfter)
		case time.Now().After(p.restartAt):
			p.restartAt = time.Time{}
			p.suspended = false
			p.lives++
			p.Start()
		}
	}
}

// writeTimetable writes the part of the timetable that comes from a file.
func writeTimetable(t testing.TB) string {
	t.Helper()
	text := "schedules:\n"
	for _, s := range fromFile {
		text += fmt.Sprintf("  - {name: %s, type: %s, cron: %q, missed: all, missed_limit: 100, payload: %s}\n",
			s.name, s.kind, s.cron(), s.payload)
	}
	path := filepath.Join(t.TempDir(), "timetable.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
