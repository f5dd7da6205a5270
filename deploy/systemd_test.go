package deploy_test

import (
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const common = "systemd/postrider-.service.d/common.conf"

// units are the services, a template as an instance of it.
var units = map[string]string{
	"postrider-api.service":       "api",
	"postrider-worker@8.service":  "worker",
	"postrider-scheduler.service": "scheduler",
	"postrider-serve.service":     "postrider serve",
}

// file is the unit's in this folder.
func file(unit string) string {
	name, suffix, template := strings.Cut(unit, "@")
	if template {
		return filepath.Join("systemd", name+"@"+filepath.Ext(suffix))
	}
	return filepath.Join("systemd", unit)
}

// directives are the lines of a unit and of what it shares, by key.
func directives(t *testing.T, unit string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, path := range []string{file(unit), common} {
		for line := range strings.Lines(read(t, path)) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if ok && !strings.HasPrefix(key, "#") {
				out[key] = append(out[key], value)
			}
		}
	}
	return out
}

// Every unit's program accepts the environment that systemd makes for it.
func TestUnitSettings(t *testing.T) {
	secrets := makeSecrets(t)
	replace(t, filepath.Join(secrets, "redis_url"), "redis://:password@127.0.0.1:6379/0")
	served := map[netip.AddrPort]bool{}
	for unit, program := range units {
		d := directives(t, unit)
		if want := "/opt/postrider/bin/" + program; len(d["ExecStart"]) != 1 || d["ExecStart"][0] != want {
			t.Errorf("%s starts %q, want %s", unit, d["ExecStart"], want)
		}
		credentials := t.TempDir()
		for _, c := range d["LoadCredential"] {
			name, path, _ := strings.Cut(c, ":")
			if path != "/etc/postrider/secrets/"+name {
				t.Errorf("%s: LoadCredential=%s is not where the others are", unit, c)
			}
			replace(t, filepath.Join(credentials, name), strings.TrimSpace(read(t, filepath.Join(secrets, name))))
		}
		_, instance, _ := strings.Cut(strings.TrimSuffix(unit, ".service"), "@")
		specifiers := strings.NewReplacer("%d", credentials, "%i", instance, "%S", t.TempDir())
		environ := d["Environment"]
		for i := range environ {
			environ[i] = specifiers.Replace(environ[i])
		}
		for line := range strings.Lines(read(t, "systemd/postrider.env")) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if !ok || strings.HasPrefix(name, "#") {
				continue
			}
			if slices.ContainsFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
				t.Errorf("%s sets %s, which postrider.env would override", unit, name)
			}
			environ = append(environ, name+"="+strings.Trim(value, `"`))
		}
		cfg := load(t, program, environ)
		limit, err := time.ParseDuration(d["TimeoutStopSec"][0])
		if err != nil || limit <= cfg.Work.ContainerGrace {
			t.Errorf("%s is killed after %v (%v), and plans with POSTRIDER_CONTAINER_GRACE=%v", unit, limit, err, cfg.Work.ContainerGrace)
		}
		addr, err := netip.ParseAddrPort(cfg.HTTP.Addr)
		if err != nil || !addr.Addr().IsLoopback() || addr.Port() < 1024 || served[addr] && program != "postrider serve" {
			t.Errorf("%s serves on %s; want an address of its own, on loopback", unit, cfg.HTTP.Addr)
		}
		served[addr] = program != "postrider serve" // it takes the place of the others
	}
}

// systemd itself finds nothing to say about the units, and rates them as safe.
func TestUnitsVerify(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("systemd-analyze is missing: install the package systemd")
	}
	bin := programs(t)
	dir := t.TempDir()
	install := func(from, to string) {
		t.Helper()
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(read(t, from), "/opt/postrider/bin", bin)
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install(common, strings.TrimPrefix(common, "systemd/"))
	var names []string
	for _, unit := range slices.Sorted(maps.Keys(units)) {
		install(file(unit), unit)
		names = append(names, filepath.Join(dir, unit))
	}
	if out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, names...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for _, name := range names { // 1.5 of 10; 2 and less is OK, 9.6 has a unit without hardening
		out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold=15", name).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze security: %v\n%s", err, out)
		}
	}
}
