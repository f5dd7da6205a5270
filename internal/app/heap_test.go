package app

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// TestFloorHeap: with the floor a garbage collection leaves room for 64 MiB at
// least, without it a small heap has but some.
func TestFloorHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	const floor = 64 << 20
	release := FloorHeap()
	if next := nextCollection(); next < floor {
		t.Errorf("the next collection is at %d bytes", next)
	}
	release()
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			before := nextCollection()
			t.Setenv(name, "100")
			release := FloorHeap()
			if next := nextCollection(); next >= before+floor/2 {
				t.Errorf("the next collection is at %d bytes, and was at %d", next, before)
			}
			release()
		})
	}
}

func nextCollection() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NextGC
}
