package numbers

import (
	"slices"
	"time"
)

// latencyOver is how many seconds a Latency sums up: in one there may be too few
// runs for a percentile to mean anything.
const latencyOver = 10

// latency sums up the runs that ended in the seconds up to at.
func latency(runs map[Second][]Run, at Second) *Latency {
	var waits, took []time.Duration
	for s := at - latencyOver + 1; s <= at; s++ {
		for _, r := range runs[s] {
			took = append(took, r.Took)
			if r.Wait >= 0 {
				waits = append(waits, r.Wait)
			}
		}
	}
	if len(took) == 0 {
		return nil
	}
	return &Latency{
		WaitP50: percentile(waits, 50), WaitP99: percentile(waits, 99),
		RunP50: percentile(took, 50), RunP99: percentile(took, 99),
	}
}

// percentile is the nearest-rank one, in milliseconds; 0 of nothing. It sorts.
func percentile(of []time.Duration, p int) int64 {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[(len(of)*p+99)/100-1].Milliseconds()
}
