// Package deploy_test holds the files of this folder to what the programs
// need: it loads them as the platforms do, runs what can be run without the
// platforms, and reads every setting by the code that will read it.
package deploy_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/app"
)

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(image.dir)
	os.Exit(code)
}

// roles are what a program is to app.Load. postrider migrate needs no more of
// the settings than the scheduler does.
var roles = map[string]app.Role{
	"api": app.API, "worker": app.Worker, "scheduler": app.Scheduler,
	"postrider serve": app.Serve, "postrider migrate": app.Scheduler,
}

// load reads an environment as the program does, and fails the test at
// anything that the program would complain about.
func load(t *testing.T, program string, environ []string) app.Config {
	t.Helper()
	role, ok := roles[program]
	if !ok {
		t.Fatalf("%q is not one of our programs", program)
	}
	cfg, report, err := app.Load(role, environ)
	if err != nil {
		t.Fatalf("%s refuses its settings: %v", program, err)
	}
	for _, w := range report.Warnings {
		t.Errorf("%s warns: %s", program, w)
	}
	for _, setting := range environ {
		if name, _, _ := strings.Cut(setting, "="); !settings(t)[name] {
			t.Errorf("%s is given %s, which is not a setting", program, name)
		}
	}
	if role.API && len(cfg.Auth.APIKeys) == 0 {
		t.Errorf("%s is open to everybody: it has no API keys", program)
	}
	return cfg
}

var settingRow = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|(.*)$")

// settings are the names of all settings, and of the files that stand in for
// secrets.
func settings(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, row := range settingRow.FindAllStringSubmatch(app.SettingsTable(), -1) {
		names[row[1]] = true
		if file := row[1] + "_FILE"; strings.Contains(row[2], file) {
			names[file] = true
		}
	}
	if !names["DATABASE_URL_FILE"] || names["MAIL_FROM_FILE"] {
		t.Fatalf("the table of settings reads differently now; found %v", names)
	}
	return names
}

// makeSecrets runs make-secrets for a folder of the test's own.
func makeSecrets(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secrets")
	if out, err := exec.Command("./make-secrets", dir).CombinedOutput(); err != nil {
		t.Fatalf("make-secrets: %v\n%s", err, out)
	}
	return dir
}

func TestMakeSecrets(t *testing.T) {
	dir := makeSecrets(t)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v; want it open to its owner only", info.Mode(), err)
	}
	// A container's user is nobody the host knows, and has to read them.
	before := map[string]string{}
	for _, name := range []string{
		"postgres_password", "database_url", "api_keys", "jwt_secret", "grafana_password", "smtp_url",
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("%s: %v, %v; want it readable", name, info, err)
		}
		before[name] = read(t, filepath.Join(dir, name))
	}
	if password := strings.TrimSpace(before["postgres_password"]); len(password) < 32 ||
		!strings.Contains(before["database_url"], ":"+password+"@") {
		t.Error("the database's URL does not hold its password")
	}
	if out, err := exec.Command("./make-secrets", dir).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the second time: %v, %s; want nothing done", err, out)
	}
	for name, value := range before {
		if read(t, filepath.Join(dir, name)) != value {
			t.Errorf("the second time changed %s", name)
		}
	}
	if other := makeSecrets(t); read(t, filepath.Join(other, "api_keys")) == before["api_keys"] {
		t.Error("two installations have the same API key")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// replace gives a file another content, whatever its mode.
func replace(t *testing.T, path, content string) {
	t.Helper()
	_ = os.Remove(path)
	if err := os.WriteFile(path, []byte(content+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
}

// freeAddr is an address of this machine that nothing listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
