package peers

import (
	"sync"
	"sync/atomic"
)

// each calls do for all of ms, n callers side by side, and returns one of the
// errors. A caller stops at its first.
func each(n int, ms []Mail, do func(Mail) error) error {
	var next atomic.Int64
	failed := make(chan error, n)
	var callers sync.WaitGroup
	for range n {
		callers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ms)); i = next.Add(1) - 1 {
				if err := do(ms[i]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	callers.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
