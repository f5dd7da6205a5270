package clients_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// TestTutorials has pages as the common tutorials write them speak to Postrider,
// which serves the browser's client once it is built.
func TestTutorials(t *testing.T) {
	const secret = "a secret of just thirty-two byte"
	web := t.TempDir()
	server := testkit.NewService(t, []string{
		"POSTRIDER_DATA_DIR=" + t.TempDir(), "POSTRIDER_JWT_SECRET=" + secret, "POSTRIDER_WEB_DIR=" + web,
	}, testkit.Build(t, "github.com/postrider/postrider/cmd/postrider"), "dev")
	server.Start()
	server.AwaitReady()
	if status, body := get(t, "http://"+server.Addr+"/socket.io/socket.io.js"); status != http.StatusNotFound || !strings.Contains(body, "make clients") {
		t.Errorf("before it is built the client is answered with %d %s", status, body)
	}
	built, err := os.ReadFile("js/node_modules/socket.io-client/dist/socket.io.js")
	if err != nil {
		t.Fatalf("reading the client, which `make test-deps` installs: %v", err)
	}
	if err := os.Mkdir(filepath.Join(web, "socket.io"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(web, "socket.io", "socket.io.js"), built, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, "http://"+server.Addr+"/socket.io/socket.io.js"); status != http.StatusOK || body != string(built) {
		t.Errorf("the client is answered with %d and %d bytes", status, len(body))
	}
	if out, err := node(t, "testdata", "tutorials.mjs", "http://"+server.Addr, secret).CombinedOutput(); err != nil {
		t.Errorf("the tutorials' pages: %v\n%s\n%s", err, out, server.Output())
	}
	if code := server.Stop(30 * time.Second); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	res, err := http.Get(url) //nolint:noctx // the server is the test's own
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
