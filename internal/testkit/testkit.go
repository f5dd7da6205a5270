// Package testkit gives tests real servers of their own: Redis, Redis Cluster,
// Sentinel, PostgreSQL, a mail server, a scripted SMTP server and a TCP proxy
// that misbehaves on demand.
//
// Every server runs on free ports of 127.0.0.1 with a folder of its own and
// ends with the test that asked for it; a test process that is killed leaves
// nothing behind either (see reaper.go). A missing program fails the test and
// names the Debian package that holds it: nothing is ever skipped.
package testkit

import (
	"os/exec"
	"testing"
	"time"
)

// startLimit bounds the time that a server has to become usable. It is wide
// because a busy two-core machine starts several of them at once.
const startLimit = 30 * time.Second

// WaitFor polls cond every few milliseconds until it holds, and fails the test
// with what was waited for when it has not held within the timeout. It must be
// called from the test's own goroutine. For state of the test's own process a
// channel is better.
func WaitFor(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	if !poll(timeout, cond) {
		t.Fatalf("waited %v in vain: %s", timeout, what)
	}
}

// poll reports whether cond came to hold within the timeout.
func poll(timeout time.Duration, cond func() bool) bool {
	const interval = 5 * time.Millisecond
	deadline := time.Now().Add(timeout)
	for !cond() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(interval)
	}
	return true
}

// program finds an executable in PATH or fails the test, naming the Debian
// package to install.
func program(t testing.TB, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs the program %s: run `make test-deps`, or install Debian's package %s", name, debianPackage)
	}
	return path
}
