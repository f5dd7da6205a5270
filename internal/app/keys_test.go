package app

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

// asked is an answer to a request with a key.
func asked(t *testing.T, base, method, path, key, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(read)
}

// TestMadeKeys holds that a key that was made outlives its process, works as one
// that is set, and shares its name with none. The page of the processes knows
// this one.
func TestMadeKeys(t *testing.T) {
	dir := t.TempDir()
	const boss = "POSTRIDER_API_KEYS=boss:boss-secret-000000:admin"
	a := boot(t, Dev, "POSTRIDER_DATA_DIR="+dir, boss)
	status, text := asked(t, a.Addr(), http.MethodPost, "/keys", "boss-secret-000000", `{"name":"shop","scopes":["jobs:write"]}`)
	_, secret, found := strings.Cut(text, `"secret":"`)
	secret, _, _ = strings.Cut(secret, `"`)
	if status != http.StatusCreated || !found {
		t.Fatalf("creating a key is answered %d %s", status, text)
	}
	testkit.WaitFor(t, patienceInTests, "the process is on the page", func() bool {
		status, page := asked(t, a.Addr(), http.MethodGet, "/admin/workers", "", "")
		return status == http.StatusOK && strings.Contains(page, a.name) && strings.Contains(page, ">alive<")
	})
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	a = boot(t, Dev, "POSTRIDER_DATA_DIR="+dir, boss)
	if status, text := asked(t, a.Addr(), http.MethodPost, "/jobs", secret, `{"type":"noop"}`); status != http.StatusAccepted {
		t.Errorf("a job is answered %d %s", status, text)
	}
	if status, _ := asked(t, a.Addr(), http.MethodGet, "/jobs", secret, ""); status != http.StatusForbidden {
		t.Errorf("what it may not is answered %d", status)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	cfg, _, err := Load(Dev, []string{"POSTRIDER_HTTP_ADDR=127.0.0.1:0", "POSTRIDER_DATA_DIR=" + dir, "POSTRIDER_API_KEYS=shop:shop-secret-000000:jobs:read"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Dev, cfg, testkit.Logger(t)); err == nil || !strings.Contains(err.Error(), "sets the key shop") {
		t.Errorf("a name that there is twice: %v", err)
	}
}
