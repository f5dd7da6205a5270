package app

import (
	"os"
	"runtime"
)

// heapFloor is the size in bytes that the heap may have before the garbage
// collector begins. A process of a few megabytes that carries out thousands of
// jobs a second would collect dozens of times a second otherwise, for a fifth
// of its processor time.
const heapFloor = 64 << 20

// FloorHeap lets the heap of this process grow to 64 MiB before it is
// collected, until release is called. Larger heaps are collected as Go always
// does, at twice what lives. It does nothing where GOGC or GOMEMLIMIT is set:
// there somebody has said how memory is to be used.
//
// What it does is to hold half of that without ever writing to it: Go counts
// it, and the operating system gives it no page.
func FloorHeap() (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	unused := make([]byte, heapFloor/2)
	return func() { runtime.KeepAlive(unused) }
}
