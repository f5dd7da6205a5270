package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// reaperScript outlives the test process. Its standard input is a pipe whose
// other end only the test process holds, so cat ends when that process is
// gone, also by kill -9. Then it ends the servers that are still listed (file
// name: pid, content: signal) and removes the folder $1. A kernel-level parent
// death signal would not do: it is tied to the thread that forked, knows Linux
// only and removes no folder.
//
// It does not wait for the pids: in a container without an init process the
// ended servers stay as zombies. A folder that a server still writes to as it
// ends is removed at a later try.
const reaperScript = `
cat >/dev/null
for f in "$1"/pids/*; do
	[ -e "$f" ] || continue
	kill -"$(cat "$f")" "${f##*/}"
	kill -CONT "${f##*/}"
done
tries=0
until rm -rf "$1" || [ $tries -ge 100 ]; do tries=$((tries + 1)); sleep 0.1; done
`

// reaper is the test process's one folder for servers and the shell that
// cleans it up.
type reaper struct {
	root string
	// lifeline is never written to nor closed by us: its end is the signal. It
	// is kept here lest the garbage collector close it.
	lifeline *os.File
}

// theReaper starts the reaper at its first use.
var theReaper = sync.OnceValues(newReaper)

func newReaper() (*reaper, error) {
	root, err := os.MkdirTemp("", "postrider-test-")
	if err != nil {
		return nil, fmt.Errorf("making the test servers' folder: %w", err)
	}
	// PostgreSQL refuses to run as root, so another user must get through.
	if err := os.Chmod(root, 0o711); err != nil {
		return nil, fmt.Errorf("opening the test servers' folder: %w", err)
	}
	if err := os.Mkdir(filepath.Join(root, "pids"), 0o700); err != nil {
		return nil, fmt.Errorf("making the pid folder: %w", err)
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making the reaper's pipe: %w", err)
	}
	defer ours.Close()
	cmd := exec.Command("/bin/sh", "-c", reaperScript, "postrider-test-reaper", root)
	cmd.Stdin = ours
	// A Ctrl-C at the terminal, or a kill of the whole group, must not take the
	// reaper along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		theirs.Close()
		return nil, fmt.Errorf("starting the reaper: %w", err)
	}
	return &reaper{root: root, lifeline: theirs}, nil
}

// watch has the process ended by sig (a name such as KILL) should the test
// process die without ending it.
func (r *reaper) watch(pid int, sig string) error {
	return os.WriteFile(r.pidFile(pid), []byte(sig), 0o600)
}

// forget is called once the process has ended, before its pid can be reused.
func (r *reaper) forget(pid int) { _ = os.Remove(r.pidFile(pid)) }

func (r *reaper) pidFile(pid int) string {
	return filepath.Join(r.root, "pids", strconv.Itoa(pid))
}

// mustReaper returns the reaper or fails the test.
func mustReaper(t testing.TB) *reaper {
	t.Helper()
	r, err := theReaper()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serverDir makes a folder for one server. It goes with the test, or with the
// process at the latest. Its path is short: a Unix socket's must be under 108
// bytes, which testing's TempDir does not promise.
func serverDir(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp(mustReaper(t).root, name+"-")
	if err != nil {
		t.Fatalf("making a folder for %s: %v", name, err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
