package deploy_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// ours are the services that run a program of ours.
var ours = []string{"migrate", "api", "worker", "scheduler"}

// compose loads compose.yaml as `docker compose` does: checked against the
// schema, interpolated from env, normalized and looked over for references to
// what is not there.
func compose(t *testing.T, env types.Mapping) *types.Project {
	t.Helper()
	path, err := filepath.Abs("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(path),
		ConfigFiles: []types.ConfigFile{{Filename: path}},
		Environment: env,
	}, func(o *loader.Options) { o.ResolvePaths = true })
	if err != nil {
		t.Fatal(err)
	}
	return project
}

var pinned = regexp.MustCompile(`^[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?$`)

func TestComposeServices(t *testing.T) {
	project := compose(t, nil)
	for name, s := range project.Services {
		if !s.ReadOnly || s.Privileged || !slices.Contains(s.CapDrop, "ALL") || len(s.CapAdd) > 0 ||
			!slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not hardened", name)
		}
		if s.ContainerName != "" {
			t.Errorf("%s has a container_name: only one of it can run", name)
		}
		if s.Build == nil && (!pinned.MatchString(s.Image) || s.User == "") {
			t.Errorf("%s: image %q must be pinned, and run as a user that is not root (%q)", name, s.Image, s.User)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %s to the world", name, p.Published)
			}
		}
		if s.HealthCheck != nil && !s.HealthCheck.Disable && len(s.HealthCheck.Test) == 0 {
			t.Errorf("%s has an empty health check", name)
		}
	}
	service := project.Services
	for _, name := range ours {
		s := service[name]
		if file := filepath.Join(s.Build.Context, s.Build.Dockerfile); file != filepath.Join(filepath.Dir(project.WorkingDir), "deploy", "Dockerfile") {
			t.Errorf("%s is built from %s", name, file)
		}
		if name == "migrate" {
			continue
		}
		for needed, condition := range map[string]string{
			"migrate": types.ServiceConditionCompletedSuccessfully, "redis": types.ServiceConditionHealthy,
		} {
			if s.DependsOn[needed].Condition != condition {
				t.Errorf("%s starts before %s has %s", name, needed, condition)
			}
		}
	}
	if service["migrate"].DependsOn["postgres"].Condition != types.ServiceConditionHealthy || service["migrate"].Restart != "no" {
		t.Error("migrate must run once, when PostgreSQL is there")
	}
	api, worker, scheduler := service["api"], service["worker"], service["scheduler"]
	if api.GetScale() != 2 || scheduler.GetScale() != 2 {
		t.Errorf("%d APIs and %d schedulers, want two of each", api.GetScale(), scheduler.GetScale())
	}
	if len(api.Ports)+len(worker.Ports)+len(scheduler.Ports) > 0 {
		t.Error("api, worker or scheduler publishes a port: only one of it can run")
	}
	if nginx := service["nginx"]; len(nginx.Ports) != 1 || nginx.Ports[0].Published != "8080" ||
		nginx.DependsOn["api"].Condition != types.ServiceConditionHealthy {
		t.Errorf("nginx is not the way to the APIs: %+v", nginx)
	}
}

// nginx in compose.yaml runs the file beside it, reaches the APIs by the name
// that this file has, on the port that they serve, and is believed by them.
func TestComposeNginx(t *testing.T) {
	project := compose(t, types.Mapping{"POSTRIDER_SUBNET": "192.0.2.0/24"})
	nginx := project.Services["nginx"]
	if at := mounted(nginx, filepath.Join(project.WorkingDir, "nginx", "nginx.conf")); at != "/etc/nginx/nginx.conf" {
		t.Errorf("nginx.conf is at %q", at)
	}
	conf := read(t, "nginx/nginx.conf")
	servers := regexp.MustCompile(`(?m)^\s*server (\w+):(\d+)`).FindAllStringSubmatch(conf, -1)
	if len(servers) == 0 {
		t.Error("nginx.conf names no servers")
	}
	for _, s := range servers {
		if project.Services[s[1]].Name != "api" || s[2] != "8080" {
			t.Errorf("nginx goes to %s:%s", s[1], s[2])
		}
	}
	listens := regexp.MustCompile(`(?m)^\s*listen (\d+);`).FindStringSubmatch(conf)
	if listens == nil || nginx.Ports[0].Target != 8080 || listens[1] != "8080" {
		t.Errorf("nginx listens on %v, and its port is %+v", listens, nginx.Ports)
	}
	want := "192.0.2.0/24"
	trusted := project.Services["api"].Environment["POSTRIDER_TRUSTED_PROXIES"]
	if got := project.Networks["default"].Ipam.Config[0].Subnet; got != want || trusted == nil || *trusted != want {
		t.Errorf("the network is %s, and the APIs believe %v", got, trusted)
	}
}

// environ is what a service's program is given, its secrets being in dir.
func environ(t *testing.T, s types.ServiceConfig, dir string) []string {
	t.Helper()
	out := imageEnv(t)
	for name, value := range s.Environment {
		if value == nil {
			t.Fatalf("%s: %s takes its value from whoever starts it", s.Name, name)
		}
		if secret, ok := strings.CutPrefix(*value, "/run/secrets/"); ok {
			if !slices.ContainsFunc(s.Secrets, func(c types.ServiceSecretConfig) bool { return c.Source == secret }) {
				t.Errorf("%s: %s names a secret that it does not get", s.Name, name)
			}
			*value = filepath.Join(dir, secret)
		}
		out = append(out, name+"="+*value)
	}
	return out
}

func TestComposeSettings(t *testing.T) {
	dir := makeSecrets(t)
	const user = "ops:$2a$12$abcdefghijklmnopqrstuuFZX8Nzuy1r6m0Y9pOZ2Xl1kq4zPq5a6:admin"
	project := compose(t, types.Mapping{"POSTRIDER_DASHBOARD_USERS": user})
	for _, name := range ours {
		s := project.Services[name]
		cfg := load(t, strings.Join(s.Command, " "), environ(t, s, dir))
		if name == "migrate" {
			continue
		}
		if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) <= cfg.Work.ContainerGrace {
			t.Errorf("%s is killed after %v, and plans with POSTRIDER_CONTAINER_GRACE=%v", name, s.StopGracePeriod, cfg.Work.ContainerGrace)
		}
		if cfg.Store.AutoMigrate {
			t.Errorf("%s migrates by itself", name)
		}
		if cfg.HTTP.Addr != ":8080" {
			t.Errorf("%s serves on %s", name, cfg.HTTP.Addr)
		}
	}
	if got := project.Services["api"].Environment["POSTRIDER_DASHBOARD_USERS"]; got == nil || *got != user {
		t.Errorf("the dashboard's users arrive as %v", got)
	}
	for name, secret := range project.Secrets {
		if want := filepath.Join(project.WorkingDir, "secrets", name); secret.File != want {
			t.Errorf("the secret %s is %s, and make-secrets makes %s", name, secret.File, want)
		}
	}
}
