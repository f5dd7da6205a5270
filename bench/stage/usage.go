package stage

import (
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
	text, err := os.ReadFile(a.proc("stat"))
	if err != nil {
		return 0, fmt.Errorf("reading a process' time: %w", err)
	}
	// The name, in brackets, may hold blanks; utime and stime are the 12th and 13th
	// behind it (proc(5)).
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading a process' time: %d fields", len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading a process' time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
