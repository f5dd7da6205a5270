package testkit

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Log holds what a test's logger has written. Its methods may be called from
// any goroutine.
type Log struct {
	mu   sync.Mutex
	t    testing.TB // nil when the test is over
	text bytes.Buffer
}

// Logger returns a logger at debug level whose lines appear with the test's own
// output. What is written after the test's end is dropped, where t.Log would
// panic.
func Logger(t testing.TB) *slog.Logger {
	logger, _ := CaptureLog(t)
	return logger
}

// CaptureLog is Logger for a test that looks at what was logged.
func CaptureLog(t testing.TB) (*slog.Logger, *Log) {
	l := &Log{t: t}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.t = nil
	})
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), l
}

// Write takes one line from the logger.
func (l *Log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(line)
	if l.t != nil {
		return l.t.Output().Write(line)
	}
	return len(line), nil
}

// String returns all lines so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns how many lines contain the text.
func (l *Log) Count(text string) int {
	n := 0
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
