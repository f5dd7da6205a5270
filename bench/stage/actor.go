package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Actor is a contestant's process, which is told what to do line by line.
type Actor struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	stderr  tail
	once    sync.Once
	stopped error
}

// StartActor starts a contestant and waits for its first line, which is decoded
// into ready (nil: not at all).
func StartActor(ctx context.Context, name string, cmd *exec.Cmd, ready any) (*Actor, error) {
	a := &Actor{name: name, cmd: cmd}
	cmd.Stderr = &a.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for us
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", name, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", name, err)
	}
	a.in, a.out = in, bufio.NewScanner(out)
	a.out.Buffer(make([]byte, 64<<10), 64<<20)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := a.answer(ctx, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for %s: %w", name, err), a.Close())
	}
	return a, nil
}

// Do gives a command, op with args, and decodes the answer into reply (nil: not
// at all). When ctx ends first the contestant is killed.
func (a *Actor) Do(ctx context.Context, op string, args map[string]any, reply any) error {
	line := map[string]any{"op": op}
	for k, v := range args {
		line[k] = v
	}
	b, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encoding a command: %w", err)
	}
	if _, err := a.in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("telling %s to %s: %w%s", a.name, op, err, &a.stderr)
	}
	if err := a.answer(ctx, reply); err != nil {
		return fmt.Errorf("%s of %s: %w", op, a.name, err)
	}
	return nil
}

func (a *Actor) answer(ctx context.Context, reply any) error {
	release := context.AfterFunc(ctx, func() { _ = a.cmd.Process.Kill() })
	defer release()
	if !a.out.Scan() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("it ended%s", &a.stderr)
	}
	var failed struct{ Error string }
	if err := json.Unmarshal(a.out.Bytes(), &failed); err != nil {
		return fmt.Errorf("reading the answer %q: %w", a.out.Text(), err)
	}
	if failed.Error != "" {
		return errors.New(failed.Error)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(a.out.Bytes(), reply)
}

// Close has the contestant end in good order; one that does not is killed, which
// is an error.
func (a *Actor) Close() error {
	a.once.Do(func() {
		_ = a.in.Close()
		slow := time.AfterFunc(startLimit, func() { _ = a.cmd.Process.Kill() })
		defer slow.Stop()
		for a.out.Scan() { // to the end of its output
		}
		if err := a.cmd.Wait(); err != nil {
			a.stopped = fmt.Errorf("ending %s: %w%s", a.name, err, &a.stderr)
		}
	})
	return a.stopped
}

// Kill ends the contestant as kill -9 does, and waits until it has ended.
func (a *Actor) Kill() {
	a.once.Do(func() {
		_ = a.cmd.Process.Kill()
		for a.out.Scan() { // to the end of its output
		}
		_ = a.cmd.Wait() // that it was killed is no news
		_ = a.in.Close()
	})
}

// tail keeps the beginning of what a contestant complains of.
type tail struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text.Len() < 4<<10 {
		t.text.Write(b)
	}
	return len(b), nil
}

// String is for the end of an error.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text.Len() == 0 {
		return ""
	}
	return "; it said:\n" + t.text.String()
}
