// Package clients_test runs the tests of the clients in other languages.
package clients_test

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

// TestJS runs the tests of clients/js in node.
func TestJS(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("this test needs node: make test installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "--test", "test/")
	cmd.Dir = "js"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the tests of clients/js (after npm ci there): %v\n%s", err, out)
	}
}
