package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/internal/testkit"
)

// What the log must not hold at info, by what it is.
const (
	privateUser     = "carol.private@example.com" // an id that is an address, as many applications have it
	privateAddress  = "ann.private@example.com"
	privateSubject  = "The subject of a private mail"
	privateText     = "https://shop.example/reset/private-link"
	privatePassword = "smtp-private-password"
	privateKey      = "boss-private-secret-000000"
	privateOperator = "operator-private-password"
	privateJWT      = "jwt-private-secret-of-thirty-two-bytes"
	privateSecret   = "links-private-secret-of-thirty-two-bytes"
)

// infoLog is what a process logs as operators run it.
func infoLog(t *testing.T) (*slog.Logger, *testkit.Log) {
	t.Helper()
	_, lines := testkit.CaptureLog(t)
	return telemetry.NewLogger(lines, telemetry.Config{}), lines
}

// wantNothingPrivate looks for all that is private here, as it was given and as
// a URL or a quoted string has it.
func wantNothingPrivate(t *testing.T, log string, more ...string) {
	t.Helper()
	for _, private := range append(more, privateUser, privateAddress, privateSubject, privateText, privatePassword, privateKey, privateOperator, privateJWT, privateSecret) {
		for _, way := range []string{private, url.QueryEscape(private), url.PathEscape(private), strings.Trim(fmt.Sprintf("%q", private), `"`)} {
			if way != "" && strings.Contains(log, way) {
				t.Errorf("the log holds %q", way)
			}
		}
	}
}

// TestLogHoldsNothingPrivate runs jobs of each kind, some of which fail, and looks
// through what the whole product logged.
func TestLogHoldsNothingPrivate(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte(privateOperator), 10)
	if err != nil {
		t.Fatal(err)
	}
	smtp := testkit.NewSMTP(t, testkit.SMTPLogin("ann", privatePassword))
	server, err := url.Parse(smtp.URL())
	if err != nil {
		t.Fatal(err)
	}
	server.User = url.UserPassword("ann", privatePassword)
	// The first login is answered as a server in debug mode might, the first
	// recipient as nearly all do.
	smtp.Once(testkit.SMTPAtAuth, testkit.SMTPReply(454, "4.7.0 not now, "+privatePassword))
	smtp.Once(testkit.SMTPAtRcpt, testkit.SMTPReply(550, "5.1.1 <"+privateAddress+"> is unknown"))

	cfg, _, err := Load(Dev, []string{
		"POSTRIDER_HTTP_ADDR=127.0.0.1:0", "POSTRIDER_DATA_DIR=" + t.TempDir(), "SMTP_URL=" + server.String(),
		"POSTRIDER_API_KEYS=boss:" + privateKey + ":admin", "POSTRIDER_DASHBOARD_USERS=ann:" + string(hash) + ":admin",
		"POSTRIDER_JWT_SECRET=" + privateJWT, "POSTRIDER_SECRET=" + privateSecret,
	})
	if err != nil {
		t.Fatal(err)
	}
	logger, lines := infoLog(t)
	a, err := New(t.Context(), Dev, cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	t.Cleanup(stop)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}

	do := func(method, path, key, body string, want int) string {
		t.Helper()
		status, text := asked(t, a.Addr(), method, path, key, body)
		if status != want {
			t.Errorf("%s %s is answered %d %s", method, path, status, text)
		}
		return text
	}
	accept := func(path, body string) job.ID {
		t.Helper()
		_, id, _ := strings.Cut(do(http.MethodPost, path, privateKey, body, http.StatusAccepted), `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		return job.ID(id)
	}
	becomes := func(id job.ID, state job.State, attempts int) {
		t.Helper()
		testkit.WaitFor(t, patienceInTests, "the job "+string(id)+" to be "+string(state), func() bool {
			j, err := a.store.Find(t.Context(), id)
			return err == nil && j.State == state && j.Attempts == attempts
		})
	}
	mail := fmt.Sprintf(`{"email":%q,"subject":%q,"message":%q}`, privateAddress, privateSubject, privateText)
	first := accept("/jobs/send-email", mail)
	becomes(first, job.Waiting, 1) // after a login that failed
	do(http.MethodPost, "/jobs/"+string(first)+"/run", privateKey, "", http.StatusOK)
	becomes(first, job.Failed, 2) // which suppresses the address
	becomes(accept("/jobs/send-email", mail), job.Suppressed, 0)
	becomes(accept("/jobs/send-email", strings.Replace(mail, privateAddress, "bob."+privateAddress, 1)), job.Done, 1)
	becomes(accept("/jobs/send-notification", fmt.Sprintf(`{"receiverId":%q,"message":%q}`, privateUser, privateText)), job.Done, 1)
	do(http.MethodPost, "/jobs/send-email", privateKey, strings.Replace(mail, privateAddress, privateAddress+" <", 1), http.StatusUnprocessableEntity)
	do(http.MethodPost, "/jobs/send-email", "wrong-"+privateKey, mail, http.StatusUnauthorized)
	do(http.MethodGet, "/jobs?recipient="+privateAddress, privateKey, "", http.StatusOK)
	do(http.MethodGet, "/api/notifications/"+privateUser, privateKey, "", http.StatusOK)
	do(http.MethodPost, "/api/rooms/red/messages", privateKey, fmt.Sprintf(`{"userId":%q,"text":%q}`, privateUser, privateText), http.StatusCreated)
	made := do(http.MethodPost, "/keys", privateKey, `{"name":"shop","scopes":["jobs:write"]}`, http.StatusCreated)
	_, made, _ = strings.Cut(made, `"secret":"`)
	made, _, _ = strings.Cut(made, `"`)
	do(http.MethodDelete, "/recipients/"+privateAddress+"?user="+privateUser+"&confirm=true", privateKey, "", http.StatusOK)
	session := ""
	for _, password := range []string{"wrong-" + privateOperator, privateOperator} {
		res, err := http.DefaultTransport.RoundTrip(loginForm(t, a.Addr(), "ann", password))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		for _, c := range res.Cookies() {
			session = c.Value
		}
	}
	if made == "" || session == "" {
		t.Fatalf("the key made is %q, the session %q: the test looks for nothing", made, session)
	}
	stop()
	if len(smtp.Mails()) != 1 || lines.Count("level=INFO") == 0 || lines.Count("level=DEBUG") != 0 {
		t.Errorf("%d mails, %d lines at info, %d at debug", len(smtp.Mails()), lines.Count("level=INFO"), lines.Count("level=DEBUG"))
	}
	wantNothingPrivate(t, lines.String(), made, session)
}

// A process that cannot reach, or cannot read, what its URLs name tells of them
// without their passwords.
func TestStartTellsNoPassword(t *testing.T) {
	// Nobody listens at port 1; a URL with a space, or a bad port, cannot be read.
	urls := map[string][]string{
		"DATABASE_URL": {"postgres://ann:%s@127.0.0.1:1/postrider?connect_timeout=1", "postgres://ann:%s@db:port/x", "postgres://ann:%s@d b/x", "mysql://ann:%s@db/x"},
		"REDIS_URL":    {"redis://:%s@127.0.0.1:port/0", "redis://:%s@127.0.0.1:1/zero", "redis+sentinel://:%s@", "http://:%s@127.0.0.1"},
		"SMTP_URL":     {"smtp://ann:%s@mail example", "smtp://ann:%s@mail.example:port", "smtp://ann:%s@mail.example?tls=never", "http://ann:%s@mail.example"},
	}
	for name, bad := range urls {
		for _, text := range bad {
			environ := []string{
				"DATABASE_URL=postgres://ann@127.0.0.1:1/postrider?connect_timeout=1", "REDIS_URL=redis://127.0.0.1:1/0", "SMTP_URL=smtp://127.0.0.1:1",
				"POSTRIDER_HTTP_ADDR=127.0.0.1:0", name + "=" + fmt.Sprintf(text, privatePassword),
			}
			ctx, cancel := context.WithTimeout(t.Context(), patienceInTests)
			var out, complaints bytes.Buffer
			code := Main(ctx, Worker, System{Environ: environ, Stdout: &out, Stderr: &complaints}, nil)
			cancel()
			told := out.String() + complaints.String()
			if code == exitOK || told == "" {
				t.Errorf("%s: exit code %d, told %q", text, code, told)
			}
			wantNothingPrivate(t, told)
		}
	}
}
