package chaos

import "time"

// Replicas is for a fleet that grows and shrinks under load. Workers are only
// taken away by SIGTERM, so that nothing has to wait for leases.
func Replicas() []Act {
	return []Act{{"workers come and go", func(h *harness) {
		for _, n := range []int{7, 1, 4, 2} {
			h.workersTo(n)
			h.pause(h.between(time.Second/2, time.Second))
		}
	}}}
}

// Waves is Replicas again and again, while workers are lost, too.
func Waves() []Act {
	wave := func(h *harness, most int) {
		h.workersTo(most)
		h.pause(h.between(time.Second, 3*time.Second))
		lost := h.loseWorker()
		h.workersTo(most / 2)
		h.pause(h.between(time.Second, 3*time.Second))
		h.workersTo(most)
		h.loseWorker()
		h.workersTo(1)
		h.workersTo(2)
		h.await(lost)
	}
	return []Act{
		{"workers come, go, and two are lost", func(h *harness) { wave(h, 6) }},
		{"again, with more of them", func(h *harness) { wave(h, 10) }},
		{"no worker is left for a while", func(h *harness) {
			h.workersTo(0)
			h.pause(h.between(2*time.Second, 5*time.Second))
			h.workersTo(4)
			h.pause(3 * time.Second)
		}},
	}
}

// workersTo has so many workers, and returns when those that are new are ready;
// it does not wait for the end of the others.
func (h *harness) workersTo(n int) {
	h.t.Helper()
	h.tell("workers: %d, to be %d", len(h.fleet.workers), n)
	for len(h.fleet.workers) < n {
		h.fleet.hire()
	}
	h.until(func() bool { return allReady(h.fleet.workers) })
	for len(h.fleet.workers) > n {
		p := h.any(h.fleet.workers)
		h.fault("SIGTERM to %s, which is not to come back", p.name)
		h.fleet.dismiss(p)
		h.fleet.leaving = append(h.fleet.leaving, p)
		h.dismissed = append(h.dismissed, p.Pid())
		p.Terminate()
	}
}

// loseWorker kills a worker that is at work, which does not come back, and marks
// that.
func (h *harness) loseWorker() *mark {
	h.t.Helper()
	p := h.busyWorker()
	h.fault("kill -9 of %s, which is not to come back", p.name)
	h.fleet.dismiss(p)
	p.Kill()
	return h.workerLost(p, time.Now())
}
