package broker

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

func TestHands(t *testing.T) {
	log, lines := testkit.CaptureLog(t)
	h := &hands{log: log}
	failure := errors.New("no")
	for range 3 {
		if err := h.do(func() error { return failure }); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	}
	if len(h.idle) != 1 {
		t.Errorf("%d goroutines did what one can", len(h.idle))
	}
	func() {
		defer func() {
			if p := recover(); p != "oh" {
				t.Errorf("panicked with %v", p)
			}
		}()
		_ = h.do(func() error { panic("oh") })
	}()
	if lines.Count("a handler panicked") != 1 {
		t.Errorf("logged:\n%s", lines)
	}
	if err := h.do(func() error { runtime.Goexit(); return nil }); !errors.Is(err, errExited) {
		t.Errorf("got %v", err)
	}
	if len(h.idle) != 0 {
		t.Error("a goroutine that ended was kept")
	}
	var both, callers sync.WaitGroup
	both.Add(2)
	for range 2 {
		callers.Go(func() {
			if err := h.do(func() error { both.Done(); both.Wait(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	h.close() // while they may still return
	callers.Wait()
	if err := h.do(func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	h.close()
}
