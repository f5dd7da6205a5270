package testkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Program is one of our own programs, run as a user does.
type Program struct {
	t    testing.TB
	proc *process
	log  string
}

// Exec starts a program in a folder of its own with the environment given and
// nothing else. It is killed when the test ends; what it printed is shown when
// the test has failed.
func Exec(t testing.TB, environ []string, path string, args ...string) *Program {
	t.Helper()
	dir := t.TempDir()
	p := &Program{t: t, log: filepath.Join(dir, "output")}
	script := append([]string{"-i"}, environ...)
	script = append(append(script, path), args...)
	proc, err := startProcess(t, dir, p.log, "/usr/bin/env", script...)
	if err != nil {
		t.Fatal(err)
	}
	p.proc = proc
	t.Cleanup(func() {
		proc.kill()
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", filepath.Base(path), logTail(p.log))
		}
	})
	return p
}

// Output is what the program has printed so far, on both streams.
func (p *Program) Output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Sprintf("(no output: %v)", err)
	}
	return string(b)
}

// Kill ends the program as kill -9 does.
func (p *Program) Kill() { p.proc.kill() }

// Suspend stops the program's clock, as a paused virtual machine would (SIGSTOP);
// Resume lets it go on. Its connections stay open meanwhile.
func (p *Program) Suspend() { p.signal(p.proc.suspend()) }

// Resume ends a Suspend.
func (p *Program) Resume() { p.signal(p.proc.resume()) }

// Terminate asks the program to end (SIGTERM) and does not wait for it.
func (p *Program) Terminate() { p.signal(p.proc.cmd.Process.Signal(syscall.SIGTERM)) }

// signal takes the result of a signal: that the program has ended is none of
// its failures.
func (p *Program) signal(err error) {
	p.t.Helper()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signalling %s: %v", p.proc.cmd.Path, err)
	}
}

// Pid is the program's process id.
func (p *Program) Pid() int { return p.proc.cmd.Process.Pid }

// Exited reports whether the program has ended, and its exit code: -1 when a
// signal ended it.
func (p *Program) Exited() (code int, ended bool) {
	if p.proc.running() {
		return 0, false
	}
	return p.proc.cmd.ProcessState.ExitCode(), true
}

// Stop asks the program to end (SIGTERM), waits for it and returns its exit
// code; one that has not ended in the time fails the test.
func (p *Program) Stop(limit time.Duration) int {
	p.t.Helper()
	p.Terminate()
	return p.Wait(limit)
}

// Wait waits for the program's end and returns its exit code.
func (p *Program) Wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.proc.done:
		return p.proc.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%s did not end within %s", p.proc.cmd.Path, limit)
		return -1
	}
}
