package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// boot starts a process of the role with the settings and stops it when the
// test ends.
func boot(t *testing.T, role Role, environ ...string) *App {
	t.Helper()
	a := build(t, role, environ...)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return a
}

func build(t *testing.T, role Role, environ ...string) *App {
	t.Helper()
	return buildWith(t, nil, role, environ...)
}

// buildWith builds a process that asks providers by fetch.
func buildWith(t *testing.T, fetch feedback.Fetch, role Role, environ ...string) *App {
	t.Helper()
	cfg, _, err := Load(role, append([]string{"POSTRIDER_HTTP_ADDR=127.0.0.1:0"}, environ...))
	if err != nil {
		t.Fatal(err)
	}
	a, err := newApp(t.Context(), role, cfg, testkit.Logger(t), fetch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return a
}

// answer is what the API says of a job.
type answer struct {
	Message string `json:"message"`
	ID      string `json:"id"`
	Queue   string `json:"queue"`
	State   string `json:"state"`
}

func post(t *testing.T, base, path, body string) answer {
	t.Helper()
	res, err := http.Post("http://"+base+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("POST %s: %s %s, %v", path, res.Status, text, err)
	}
	var a answer
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&a); err != nil {
		t.Fatalf("POST %s: %v in %s", path, err, text)
	}
	return a
}

func get(t *testing.T, base, path string, into any) {
	t.Helper()
	res, err := http.Get("http://" + base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatalf("GET %s: %s, %v", path, res.Status, err)
	}
}

func stateOf(t *testing.T, base, id string) string {
	t.Helper()
	var a answer
	get(t, base, "/jobs/"+id, &a)
	return a.State
}

// caught lists the subjects of the mails that the catcher holds.
func caught(t *testing.T, base string) []string {
	t.Helper()
	var box struct {
		Messages []struct {
			Subject string `json:"subject"`
		} `json:"messages"`
	}
	get(t, base, "/dev/mail/messages", &box)
	subjects := make([]string, len(box.Messages))
	for i, m := range box.Messages {
		subjects[i] = m.Subject
	}
	return subjects
}

func email(to, subject string) string {
	return fmt.Sprintf(`{"email":%q,"subject":%q,"message":"Thanks for signing up."}`, to, subject)
}

const patienceInTests = 30 * time.Second

// metric is a value of /metrics, of a series without labels.
func metric(t *testing.T, base, name string) string {
	t.Helper()
	res, err := http.Get("http://" + base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return value
		}
	}
	return ""
}
