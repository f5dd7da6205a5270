package numbers

// take makes samples of what a look has seen, of all seconds that were over then,
// and tells them. c.looking is held.
func (c *Collector) take(l look) {
	l.queues = c.queues(l)
	for _, r := range l.tally.Runs {
		if r.At >= l.begin {
			c.runs[r.At] = append(c.runs[r.At], r)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history = nil
	mended := c.recountLocked(l)
	first := l.to - 1
	if n := len(c.kept); n > 0 {
		first = max(second(c.kept[n-1])+1, l.to-Kept)
	} else if l.tallyErr == nil {
		first = l.from
	}
	for s := first; s < l.to; s++ {
		sample := c.sample(l, s)
		c.kept = append(c.kept, sample)
		if c.watcher != nil && !mended {
			c.watcher.Sample(c.encode(sample))
		}
	}
	if over := len(c.kept) - Kept; over > 0 {
		c.kept = append(c.kept[:0], c.kept[over:]...)
	}
	if mended && c.watcher != nil {
		c.watcher.History(c.historyLocked())
	}
	for s := range c.runs {
		if s < l.to-latencyOver {
			delete(c.runs, s)
		}
	}
	c.before = &l
}

func second(s Sample) Second { return Second(s.At / Step.Milliseconds()) }

// recountLocked corrects what was counted before, and reports whether seconds are
// known now that were not.
func (c *Collector) recountLocked(l look) (mended bool) {
	if l.tallyErr != nil {
		return false
	}
	for i := range c.kept {
		s := &c.kept[i]
		if at := second(*s); at >= l.from && at < l.to {
			mended = mended || s.Rates == nil
			s.Rates = rates(l, at)
			delete(s.Problems, partRates)
		}
	}
	return mended
}

// rates are those of a second that was counted.
func rates(l look, s Second) *Rates {
	if r := l.tally.Seconds[s]; r != nil {
		return r
	}
	return &Rates{}
}

// sample is of one second. A look is of the moment at which it was made, which is
// the last second's; for the seconds before it, the look before stands.
func (c *Collector) sample(l look, s Second) Sample {
	out := Sample{At: int64(s) * Step.Milliseconds(), Problems: l.problems()}
	seen := &l
	if s < l.to-1 {
		seen = c.before
	}
	if seen != nil {
		out.Queues, out.Connections = seen.queues, seen.live
		if seen.workErr == nil {
			out.Workers = sum(seen.workers)
		}
	}
	if l.tallyErr == nil && s >= l.from {
		out.Rates, out.Latency = rates(l, s), latency(c.runs, s)
	}
	return out
}

// queues tells what was counted, nil for nothing.
func (c *Collector) queues(l look) []Queue {
	if l.queueErr != nil {
		return nil
	}
	out := make([]Queue, len(l.counts))
	for i, n := range l.counts {
		out[i] = Queue{
			Name: n.Queue, Pending: n.Pending, Active: n.Active, Scheduled: n.Scheduled, Retry: n.Retry,
			Paused: n.Paused, OldestMS: n.Oldest.Milliseconds(), Processed: c.processed(l, i),
		}
	}
	return out
}

// processed is by how much the count of a queue's ended tasks has risen a second
// since the look before, nil where that is not known.
func (c *Collector) processed(l look, i int) *float64 {
	if c.before == nil || c.before.queueErr != nil {
		return nil
	}
	over, n := l.at.Sub(c.before.at).Seconds(), l.counts[i].Processed-c.before.counts[i].Processed
	if over <= 0 || n < 0 { // Redis was emptied
		return nil
	}
	rate := float64(n) / over
	return &rate
}

func sum(workers []Worker) *Workers {
	out := &Workers{Processes: int64(len(workers))}
	for _, w := range workers {
		out.Running += int64(w.Running)
		out.Slots += int64(w.Slots)
	}
	return out
}
