package deploy_test

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/postrider/postrider/internal/app"
	"github.com/postrider/postrider/internal/testkit"
)

const patience = 30 * time.Second

// host stands in for Docker: it runs the services' commands from the image's
// programs, on servers of the test's own.
type host struct {
	t       *testing.T
	project *types.Project
	bin     string
	secrets string
	redis   *testkit.RedisServer
}

func newHost(t *testing.T) (*host, *testkit.SMTP) {
	h := &host{t: t, bin: programs(t), secrets: makeSecrets(t), project: compose(t, nil)}
	smtp := testkit.NewSMTP(t)
	replace(t, filepath.Join(h.secrets, "database_url"), testkit.Postgres(t))
	replace(t, filepath.Join(h.secrets, "smtp_url"), smtp.URL())
	h.redis = testkit.Redis(t, redisConf(t, h.project)...)
	return h, smtp
}

// redisConf is the service's command as lines of redis.conf.
func redisConf(t *testing.T, project *types.Project) []string {
	t.Helper()
	command := project.Services["redis"].Command
	if len(command)%2 != 1 || command[0] != "redis-server" {
		t.Fatalf("redis is started by %q; want redis-server and pairs of flag and value", command)
	}
	var conf []string
	for i := 1; i < len(command); i += 2 {
		conf = append(conf, strings.TrimPrefix(command[i], "--")+" "+command[i+1])
	}
	return conf
}

// start runs a service's command on an address of its own.
func (h *host) start(name string) (p *testkit.Program, env []string) {
	h.t.Helper()
	s := h.project.Services[name]
	for _, e := range environ(h.t, s, h.secrets) {
		switch variable, _, _ := strings.Cut(e, "="); variable {
		case "REDIS_URL":
			e = "REDIS_URL=" + h.redis.URL()
		case "POSTRIDER_HTTP_ADDR":
			_, port, err := net.SplitHostPort(freeAddr(h.t))
			if err != nil {
				h.t.Fatal(err)
			}
			e = "POSTRIDER_HTTP_ADDR=:" + port // on all addresses, as in a container
		case "POSTRIDER_WEB_DIR":
			e = "POSTRIDER_WEB_DIR=" + filepath.Join(image.dir, "src", "web") // which is copied there
		}
		env = append(env, e)
	}
	return testkit.Exec(h.t, env, filepath.Join(h.bin, s.Command[0]), s.Command[1:]...), env
}

func (h *host) maxmemory(size string) {
	h.t.Helper()
	if err := h.redis.Client().ConfigSet(h.t.Context(), "maxmemory", size).Err(); err != nil {
		h.t.Fatal(err)
	}
}

// healthy runs the image's health check in the service's environment.
func (h *host) healthy(env []string) bool {
	cmd := exec.Command(filepath.Join(h.bin, "postrider"), "healthcheck")
	cmd.Env = env
	return cmd.Run() == nil
}

// The services start in the order of depends_on, report as healthy, deliver a
// mail and stop in good order.
func TestComposeRuns(t *testing.T) {
	h, smtp := newHost(t)
	early, _ := h.start("worker")
	if code := early.Wait(patience); code == 0 || !strings.Contains(early.Output(), "migrat") {
		t.Errorf("on an empty database a worker ended with %d, and said: %s", code, early.Output())
	}
	for range 2 { // it may be run again
		migrate, _ := h.start("migrate")
		if code := migrate.Wait(patience); code != 0 {
			t.Fatalf("migrate ended with %d:\n%s", code, migrate.Output())
		}
	}
	running := map[string]*testkit.Program{}
	addr := ""
	for _, name := range []string{"api", "worker", "scheduler"} {
		p, env := h.start(name)
		running[name] = p
		testkit.WaitFor(t, patience, name+" to be healthy", func() bool { return h.healthy(env) })
		if name == "api" {
			addr = load(t, name, env).HTTP.Addr
		}
	}
	for _, path := range []string{"/socket.io/socket.io.js", "/clients/js/index.js"} {
		if res, err := http.Get("http://127.0.0.1" + addr + path); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %v, %v", path, res, err)
		} else {
			res.Body.Close()
		}
	}
	post(t, addr, read(t, filepath.Join(h.secrets, "api_keys")))
	testkit.WaitFor(t, patience, "the mail to arrive", func() bool { return len(smtp.Mails()) == 1 })
	h.maxmemory("1") // Redis is full: it refuses every task
	post(t, addr, read(t, filepath.Join(h.secrets, "api_keys")))
	h.maxmemory("1gb")
	testkit.WaitFor(t, patience, "the mail to arrive that Redis had no room for", func() bool { return len(smtp.Mails()) == 2 })
	for name, p := range running {
		if code := p.Stop(patience); code != 0 {
			t.Errorf("%s ended with %d:\n%s", name, code, p.Output())
		}
	}
}

// post sends a mail with the first of the API keys.
func post(t *testing.T, addr, keys string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1"+addr+"/jobs/send-email",
		strings.NewReader(`{"email":"user@example.com","subject":"Welcome!","message":"Thanks for signing up."}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.Split(keys, ":")[1])
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Fatalf("posting a mail: %s", res.Status)
	}
}

// Redis as compose.yaml starts it leaves the doctor nothing to mend, and its
// health check tells whether it is there.
func TestComposeRedis(t *testing.T) {
	project := compose(t, nil)
	server := testkit.Redis(t, redisConf(t, project)...)
	for name, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "maxmemory": "1073741824",
	} {
		got, err := server.Client().ConfigGet(t.Context(), name).Result()
		if err != nil || got[name] != want {
			t.Errorf("%s is %q, %v; want %s", name, got[name], err, want)
		}
	}
	for _, f := range app.Examine(t.Context(), app.Scheduler, []string{
		"REDIS_URL=" + server.URL(), "DATABASE_URL=" + testkit.Postgres(t),
	}) {
		if f.What == "redis" && f.Status != app.Fine {
			t.Errorf("doctor on redis: %s: %s", f.Status, f.Says)
		}
	}
	_, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	check := project.Services["redis"].HealthCheck.Test // CMD, the program, its arguments
	healthy := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(*project.Services["redis"].HealthCheck.Timeout))
		defer cancel()
		return exec.CommandContext(ctx, check[1], append([]string{"-p", port}, check[2:]...)...).Run()
	}
	if err := healthy(); err != nil {
		t.Errorf("the health check of a server that is well: %v", err)
	}
	if err := server.Client().ConfigSet(t.Context(), "requirepass", "secret").Err(); err != nil {
		t.Fatal(err)
	}
	if healthy() == nil {
		t.Error("the health check of a server that answers with an error succeeds")
	}
	server.Kill()
	if healthy() == nil {
		t.Error("the health check of a server that is away succeeds")
	}
}
