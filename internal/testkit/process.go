package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a running server program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended
}

// startProcess starts a program in the folder, its output going to logFile.
// One goroutine waits for its end; stop and kill wait for that goroutine.
func startProcess(t testing.TB, dir, logFile, path string, args ...string) (*process, error) {
	t.Helper()
	r := mustReaper(t)
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", path, err)
	}
	defer out.Close()
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is in its log
		r.forget(cmd.Process.Pid)
	}()
	if err := r.watch(cmd.Process.Pid, "KILL"); err != nil {
		p.kill()
		return nil, fmt.Errorf("listing %s for the reaper: %w", path, err)
	}
	return p, nil
}

// running reports whether the program has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop asks the program to end and waits for it; after ten seconds it is
// killed and an error tells so.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(10 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not stop within 10 s and was killed", p.cmd.Path)
	}
}

// kill ends the program as kill -9 does, also while it is suspended, and waits
// for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// suspend stops the program's clock, as a paused virtual machine would; resume
// lets it go on. Its connections stay open meanwhile.
func (p *process) suspend() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) resume() error  { return p.cmd.Process.Signal(syscall.SIGCONT) }

// logTail returns the last lines of a server's log, for a failure's message.
func logTail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
