package testkit

import (
	"fmt"
	"os"
	"path/filepath"
)

// Tail is how far a server's append-only file had come at a moment.
type Tail struct {
	file string
	size int64
}

// MarkTail notes how far the append-only file has come; the server needs
// "appendonly yes".
func (s *RedisServer) MarkTail() Tail {
	s.t.Helper()
	// Redis 7 writes the newest commands to appendonlydir/NAME.N.incr.aof.
	files, err := filepath.Glob(filepath.Join(s.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		s.t.Fatalf("looking for the append-only file of redis %s: found %v, %v", s.Addr, files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		s.t.Fatalf("looking at the append-only file of redis %s: %v", s.Addr, err)
	}
	return Tail{files[0], info.Size()}
}

// CutPower ends the server as a power cut does under "appendfsync everysec":
// what it has written since the tail was marked is gone, and Restart begins
// with what was there before. (A killed server alone loses nothing: the
// operating system has what it wrote.) It returns how many bytes were lost.
func (s *RedisServer) CutPower(since Tail) int64 {
	s.t.Helper()
	s.Kill()
	lost, err := since.cut()
	if err != nil {
		s.t.Fatalf("losing the tail of redis %s: %v", s.Addr, err)
	}
	return lost
}

func (t Tail) cut() (int64, error) {
	info, err := os.Stat(t.file)
	if err != nil {
		return 0, fmt.Errorf("looking at the append-only file: %w", err)
	}
	if err := os.Truncate(t.file, t.size); err != nil {
		return 0, fmt.Errorf("cutting the append-only file: %w", err)
	}
	return info.Size() - t.size, nil
}
