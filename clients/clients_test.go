// Package clients_test runs the tests of the clients in other languages.
package clients_test

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

const limit = 5 * time.Minute

// node is a run of node in a folder, of at most limit.
func node(t *testing.T, folder string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("this test needs node: make test installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = folder
	return cmd
}

// TestJS runs the tests of clients/js.
func TestJS(t *testing.T) {
	if out, err := node(t, "js", "--test", "test/").CombinedOutput(); err != nil {
		t.Errorf("the tests of clients/js (after npm ci there): %v\n%s", err, out)
	}
}

// TestJSTypes has what an application in TypeScript writes checked by its compiler.
func TestJSTypes(t *testing.T) {
	if out, err := node(t, "js", "node_modules/typescript/bin/tsc", "-p", "test/types").CombinedOutput(); err != nil {
		t.Errorf("the types of clients/js (after npm ci there): %v\n%s", err, out)
	}
}

// TestJSKeepsUp has two tabs of a user keep up with a Postrider that is killed
// half-way, and started again.
func TestJSKeepsUp(t *testing.T) {
	const secret = "a secret of just thirty-two byte"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	program := testkit.Build(t, "github.com/postrider/postrider/cmd/postrider")
	environ := []string{"POSTRIDER_HTTP_ADDR=" + addr, "POSTRIDER_DATA_DIR=" + t.TempDir(), "POSTRIDER_JWT_SECRET=" + secret}
	server := testkit.Exec(t, environ, program, "dev")

	cmd := node(t, "testdata", "real.mjs", "http://"+addr, secret)
	said := &strings.Builder{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	half := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "half" {
			half = true
			server.Kill()
			server = testkit.Exec(t, environ, program, "dev")
		}
	}
	if err := cmd.Wait(); err != nil || !half {
		t.Errorf("the client: %v\n%s", err, said)
	}
	if code := server.Stop(30 * time.Second); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
}
