package stage

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// RSS is the actor's resident memory in bytes.
func (a *Actor) RSS() (int64, error) { return a.memory("VmRSS") }

// PeakRSS is the most that it was since ForgetPeak, in bytes.
func (a *Actor) PeakRSS() (int64, error) { return a.memory("VmHWM") }

// ForgetPeak has PeakRSS begin anew (proc(5), clear_refs).
func (a *Actor) ForgetPeak() error {
	if err := os.WriteFile(a.proc("clear_refs"), []byte("5"), 0); err != nil {
		return fmt.Errorf("forgetting the peak of memory: %w", err)
	}
	return nil
}

func (a *Actor) proc(file string) string {
	return fmt.Sprintf("/proc/%d/%s", a.cmd.Process.Pid, file)
}

// memory is a field of the process' status, in bytes.
func (a *Actor) memory(field string) (int64, error) {
	text, err := os.ReadFile(a.proc("status"))
	if err != nil {
		return 0, fmt.Errorf("reading a process' memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			var kib int64
			if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
				return 0, fmt.Errorf("reading a process' memory: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("reading a process' memory: there is no %s", field)
}

// tick is the unit of processor time in /proc (USER_HZ), the same on every
// machine that Go runs on.
const tick = 10 * time.Millisecond

// CPU is the processor time that the actor has used, to a hundredth of a second.
func (a *Actor) CPU() (time.Duration, error) {
	own, _, err := processorTime(a.cmd.Process.Pid)
	return own, err
}

// cpu is the processor time of a server and of its children, those that have
// ended with it (PostgreSQL has a child for each session).
func (p *process) cpu() (time.Duration, error) {
	pid := p.cmd.Process.Pid
	own, ended, err := processorTime(pid)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, fmt.Errorf("listing the children of %s: %w", p.name, err)
	}
	sum := own + ended
	for _, child := range strings.Fields(string(text)) {
		id, err := strconv.Atoi(child)
		if err != nil {
			return 0, fmt.Errorf("listing the children of %s: %w", p.name, err)
		}
		own, ended, err := processorTime(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // it ended just now
		}
		if err != nil {
			return 0, err
		}
		sum += own + ended
	}
	return sum, nil
}

// processorTime is what a process has used itself, and what its children have
// that ended and were waited for.
func processorTime(pid int) (own, ended time.Duration, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading a process' time: %w", err)
	}
	// The name, in brackets, may hold blanks; utime, stime, cutime and cstime are
	// the 12th to 15th behind it (proc(5)).
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, 0, fmt.Errorf("reading a process' time: %d fields", len(fields))
	}
	var ticks [4]int64
	for i, f := range fields[11:15] {
		if ticks[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return 0, 0, fmt.Errorf("reading a process' time: %w", err)
		}
	}
	return time.Duration(ticks[0]+ticks[1]) * tick, time.Duration(ticks[2]+ticks[3]) * tick, nil
}
