package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/app"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is what a command line came to.
type result struct {
	code     int
	out, err string
}

func run(t *testing.T, environ []string, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := Main(ctx, app.System{Environ: environ, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs}, args)
	return result{code, out.String(), errs.String()}
}

// mustRun is run of a command that is to succeed.
func mustRun(t *testing.T, environ []string, stdin string, args ...string) string {
	t.Helper()
	r := run(t, environ, stdin, args...)
	if r.code != 0 {
		t.Fatalf("postrider %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// serving starts a whole Postrider that asks for a key, and returns the
// environment of the commands that speak to it.
func serving(t *testing.T) []string {
	t.Helper()
	cfg, _, err := app.Load(app.Dev, []string{
		"POSTRIDER_HTTP_ADDR=127.0.0.1:0", "POSTRIDER_DATA_DIR=" + t.TempDir(),
		"POSTRIDER_API_KEYS=shop:0123456789abcdef:jobs:write+jobs:read",
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), app.Dev, cfg, testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return []string{"POSTRIDER_URL=http://" + a.Addr(), "POSTRIDER_KEY=0123456789abcdef", "POSTRIDER_HTTP_ADDR=" + a.Addr()}
}

func TestMailsAndJobs(t *testing.T) {
	environ := serving(t)
	sent := mustRun(t, environ, "Hello\n", "send-email", "-to", "ann@example.com", "--subject", "Hi", "--text", "-")
	lines := strings.Split(strings.TrimSpace(sent), "\n")
	if len(lines) != 2 || lines[0] != "Email task added to queue" {
		t.Fatalf("send-email printed %q", sent)
	}
	testkit.WaitFor(t, 30*time.Second, "the mail to be sent", func() bool {
		return strings.Contains(mustRun(t, environ, "", "jobs", "show", lines[1]), "settled")
	})
	if shown := mustRun(t, environ, "", "jobs", "show", lines[1]); !regexp.MustCompile(`state +done`).MatchString(shown) || !strings.Contains(shown, "ann@example.com") {
		t.Errorf("jobs show printed\n%s", shown)
	}

	html := filepath.Join(t.TempDir(), "mail.html")
	if err := os.WriteFile(html, []byte("<p>Hi</p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	many := mustRun(t, environ, "", "send-email", "--to", "ann@example.com", "--to", "bob@example.com",
		"--subject", "Hi", "--html-file", html, "--delay", "1h", "--priority", "bulk", "-json")
	var batch struct {
		Jobs []struct {
			ID    string `json:"id"`
			Queue string `json:"queue"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(many), &batch); err != nil || len(batch.Jobs) != 2 || batch.Jobs[0].Queue != "bulk" {
		t.Fatalf("send-email -json printed %s (%v)", many, err)
	}
	listed := mustRun(t, environ, "", "jobs", "list", "--state", "scheduled", "--since", "1h", "--limit", "1")
	if !strings.Contains(listed, "bob@example.com") || !strings.Contains(listed, "--cursor") {
		t.Errorf("jobs list printed\n%s", listed)
	}
	cancelled := mustRun(t, environ, "", "jobs", "cancel", batch.Jobs[0].ID, batch.Jobs[1].ID)
	if strings.Count(cancelled, "is cancelled") != 2 {
		t.Errorf("jobs cancel printed %q", cancelled)
	}
	retried := mustRun(t, environ, "", "jobs", "retry", "--json", batch.Jobs[0].ID)
	if !strings.Contains(retried, `"state": "queued"`) {
		t.Errorf("jobs retry printed %s", retried)
	}
}

func TestRetryByFlags(t *testing.T) {
	environ := serving(t)
	for range 3 {
		sent := mustRun(t, environ, "", "send-email", "--to", "ann@example.com", "--subject", "Hi", "--text", "Hello", "--delay", "1h")
		mustRun(t, environ, "", "jobs", "cancel", strings.Split(sent, "\n")[1])
	}
	chosen := []string{"jobs", "retry", "--state", "cancelled", "--type", "email:send", "--since", "1h", "--recipient", "ann@example.com"}
	if counted := mustRun(t, environ, "", chosen...); strings.Count(counted, "ann@example.com") != 3 || !strings.Contains(counted, "3 in all") {
		t.Errorf("jobs retry printed\n%s", counted)
	}
	if none := mustRun(t, environ, "", "jobs", "retry", "--state", "failed", "--yes"); none != "0 jobs run again\n" {
		t.Errorf("jobs retry of none printed %q", none)
	}
	if two := mustRun(t, environ, "", append(chosen, "--yes", "--limit", "2")...); two != "2 jobs run again\n" {
		t.Errorf("jobs retry of two printed %q", two)
	}
	if one := mustRun(t, environ, "", append(chosen, "--yes", "--json")...); !strings.Contains(one, `"retried": 1`) {
		t.Errorf("jobs retry of the last printed %q", one)
	}
	if none := mustRun(t, environ, "", chosen...); !strings.Contains(none, "No job is chosen") {
		t.Errorf("jobs retry of none printed %q", none)
	}
}

func TestRefusals(t *testing.T) {
	environ := serving(t)
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no command":       {nil, exitUsage, "expected one of"},
		"unknown command":  {[]string{"sned"}, exitUsage, "sned"},
		"missing flag":     {[]string{"send-email", "--to", "ann@example.com"}, exitUsage, "--subject"},
		"bad address":      {[]string{"send-email", "--to", "ann", "--subject", "x", "--text", "y"}, exitError, "to[0]"},
		"bad state":        {[]string{"jobs", "list", "--state", "lost"}, exitError, "state"},
		"bad time":         {[]string{"jobs", "list", "--since", "yesterday"}, exitUsage, "--since"},
		"ids and flags":    {[]string{"jobs", "retry", "0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70", "--state", "failed"}, exitUsage, "not both"},
		"nothing to retry": {[]string{"jobs", "retry", "--yes"}, exitUsage, "--state"},
		"bad until":        {[]string{"jobs", "retry", "--state", "failed", "--until", "soon"}, exitUsage, "--until"},
		"held":             {[]string{"jobs", "retry", "--state", "held"}, exitError, "state"},
		"no such job":      {[]string{"jobs", "show", "0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70"}, exitError, "no job"},
		"wrong key":        {[]string{"jobs", "list", "--key", "nonsense"}, exitError, "key"},
		"bad URL":          {[]string{"jobs", "list", "--url", "localhost"}, exitUsage, "localhost"},
		"nobody there":     {[]string{"jobs", "list", "--url", "http://127.0.0.1:1"}, exitError, "asking Postrider"},
		"short password":   {[]string{"hash-password"}, exitUsage, "10 to 72"},
		"bad user":         {[]string{"hash-password", "--name", "a:b"}, exitUsage, ""},
		"bad key name":     {[]string{"new-key", "a:b"}, exitUsage, "key"},
		"bad scope":        {[]string{"new-key", "shop", "--scopes", "everything"}, exitUsage, "scopes"},
		"not well":         {[]string{"healthcheck", "--addr", "127.0.0.1:1"}, exitError, "asking the process"},
		"settings are bad": {[]string{"migrate"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			environ, stdin := environ, "short"
			if name == "settings are bad" {
				environ, test.code, test.says = []string{"DATABASE_URL=mysql://x"}, exitError, "DATABASE_URL"
			}
			r := run(t, environ, stdin, test.args...)
			if r.code != test.code || !strings.Contains(r.err, test.says) {
				t.Errorf("exit code %d, want %d; it says %q, want %q in it", r.code, test.code, r.err, test.says)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"-h", "dev -h", "serve -h", "migrate -h", "migrate up -h", "migrate status -h", "send-email -h", "jobs list -h",
		"jobs show -h", "jobs retry -h", "jobs cancel -h", "hash-password -h", "new-key -h", "healthcheck -h", "doctor -h"} {
		if out := mustRun(t, nil, "", strings.Fields(args)...); !strings.Contains(out, "Usage: postrider") {
			t.Errorf("postrider %s printed %q", args, out)
		}
	}
}

func TestHealthcheck(t *testing.T) {
	environ := serving(t)
	if out := mustRun(t, environ, "", "healthcheck"); out != "well\n" {
		t.Errorf("it printed %q", out)
	}
	if out := mustRun(t, environ, "", "healthcheck", "--live", "-json"); !strings.Contains(out, `"status": "ok"`) {
		t.Errorf("it printed %q", out)
	}
}

func TestSecrets(t *testing.T) {
	entry := strings.TrimSpace(mustRun(t, nil, "correct-horse\n", "hash-password", "--name", "ann", "--role", "viewer"))
	parts := strings.Split(entry, ":")
	if len(parts) != 3 || parts[0] != "ann" || parts[2] != "viewer" {
		t.Fatalf("the entry is %q", entry)
	}
	if err := bcrypt.CompareHashAndPassword([]byte(parts[1]), []byte("correct-horse")); err != nil {
		t.Error(err)
	}
	var key struct{ Name, Secret, Entry string }
	if err := json.Unmarshal([]byte(mustRun(t, nil, "", "new-key", "shop", "-json")), &key); err != nil {
		t.Fatal(err)
	}
	if _, _, err := app.Load(app.Dev, []string{"POSTRIDER_API_KEYS=" + key.Entry, "POSTRIDER_DASHBOARD_USERS=" + entry}); err != nil {
		t.Errorf("the settings refuse what the commands made: %v", err)
	}
	if len(key.Secret) < 26 || !strings.Contains(key.Entry, key.Secret) {
		t.Errorf("the key is %+v", key)
	}
}

func TestMigrate(t *testing.T) {
	environ := []string{"DATABASE_URL=" + testkit.Postgres(t)}
	if out := mustRun(t, environ, "", "migrate", "status"); !regexp.MustCompile(`00001_ground +no`).MatchString(out) {
		t.Errorf("before: %s", out)
	}
	// Whoever forgot DATABASE_URL must see that it was not their PostgreSQL.
	if out := mustRun(t, environ, "", "migrate"); !strings.Contains(out, " at 127.0.0.1 is up to date") {
		t.Errorf("it does not say of which database: %s", out)
	}
	if out := mustRun(t, environ, "", "migrate", "status", "-json"); strings.Contains(out, "null") || strings.Count(out, "applied_at") < 2 {
		t.Errorf("after: %s", out)
	}
}

func TestDoctor(t *testing.T) {
	mails := testkit.NewSMTP(t)
	good := testkit.Redis(t, "appendonly yes", "maxmemory-policy noeviction")
	bad := testkit.Redis(t, "maxmemory-policy allkeys-lru")
	database := testkit.Postgres(t)
	environ := func(redis, smtp string) []string {
		return []string{"DATABASE_URL=" + database, "REDIS_URL=redis://" + redis, "SMTP_URL=" + smtp, "MAIL_FROM=shop@example.com",
			"POSTRIDER_API_KEYS=shop:0123456789abcdef:admin", "POSTRIDER_AUTO_MIGRATE=false"}
	}
	providers := "smtp://127.0.0.1:1?name=away " + mails.URL() + "&name=there"
	r := run(t, environ(bad.Addr, providers), "", "doctor", "-json")
	var found []app.Finding
	if err := json.Unmarshal([]byte(r.out), &found); err != nil || r.code != exitError {
		t.Fatalf("exit code %d, %v: %s%s", r.code, err, r.out, r.err)
	}
	for what, says := range map[string]string{"redis": "allkeys-lru", "database": "migrations are to be applied", "mail away": "connect", "access": "dashboard users"} {
		if !hasFinding(found, what, says) {
			t.Errorf("nothing says %q of %s:\n%s", says, what, r.out)
		}
	}
	for _, f := range found {
		if f.What == "mail there" && f.Status != app.Fine {
			t.Errorf("of the provider that answers it says %+v", f)
		}
		if f.Status != app.Fine && f.Mend == "" {
			t.Errorf("nothing is said of how to mend %+v", f)
		}
	}
	mustRun(t, environ(good.Addr, mails.URL()), "", "migrate")
	healthy := mustRun(t, environ(good.Addr, mails.URL()), "", "doctor")
	if strings.Contains(healthy, string(app.Fails)) || !strings.Contains(healthy, "append-only file") {
		t.Errorf("it says of a healthy deployment\n%s", healthy)
	}
	unsigned := run(t, append(environ(good.Addr, mails.URL()), "POSTRIDER_DKIM=example.com:s:/nowhere/key.pem"), "", "doctor", "-json")
	if err := json.Unmarshal([]byte(unsigned.out), &found); err != nil || unsigned.code != exitError || !hasFinding(found, "settings", "no such file") {
		t.Errorf("of a key that is not there, exit code %d, %v: %s", unsigned.code, err, unsigned.out)
	}
	wrong := run(t, []string{"REDIS_URL=x", "POSTRIDER_QUEUE=a=1"}, "", "doctor", "--role", "worker")
	if wrong.code != exitError || !strings.Contains(wrong.out, "REDIS_URL") || !strings.Contains(wrong.out, "POSTRIDER_QUEUES meant") {
		t.Errorf("of wrong settings: %+v", wrong)
	}
}

func hasFinding(all []app.Finding, what, says string) bool {
	for _, f := range all {
		if f.What == what && f.Status != app.Fine && strings.Contains(fmt.Sprint(f.Says), says) {
			return true
		}
	}
	return false
}
