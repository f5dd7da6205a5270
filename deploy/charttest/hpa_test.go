package charttest

import (
	"errors"
	"math"
	"testing"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
)

// autoscaler decides as Kubernetes' HorizontalPodAutoscaler does, which KEDA has
// decide from one replica up: pkg/controller/podautoscaler of Kubernetes, in
// horizontal.go (normalizeDesiredReplicasWithBehaviors) and replica_calculator.go
// (GetExternalMetricReplicas), for metrics of the type Value.
type autoscaler struct {
	min, max int
	behavior *autoscaling.HorizontalPodAutoscalerBehavior

	advice  []moment // what the metrics asked for, for the stabilization
	changes []moment // by how many replicas there were more, or less
}

type moment struct {
	at time.Time
	n  int
}

const (
	// syncPeriod is how often it decides: --horizontal-pod-autoscaler-sync-period.
	syncPeriod = 15 * time.Second
	// tolerance is how far a metric may be from its target and nothing follows.
	tolerance = 0.1
)

// errNoMetric says that none of the metrics could be had.
var errNoMetric = errors.New("no metric could be had")

// A reading is one metric's value over its target; not known where nobody tells
// it.
type reading struct {
	ratio float64
	known bool
}

// decide returns how many replicas there are to be.
func (a *autoscaler) decide(now time.Time, current int, readings []reading) (int, error) {
	most, told := 0, 0
	for _, r := range readings {
		if !r.known {
			continue
		}
		told++
		if math.Abs(r.ratio-1) <= tolerance {
			most = max(most, current)
		} else {
			most = max(most, int(math.Ceil(r.ratio*float64(current))))
		}
	}
	if told == 0 {
		return current, errNoMetric
	}
	if told < len(readings) && most < current {
		return current, nil // what is not known may want them
	}
	desired := min(max(a.limit(now, current, a.stabilize(now, current, most)), a.min), a.max)
	if desired != current {
		a.changes = append(a.changes, moment{now, desired - current})
	}
	return desired, nil
}

// stabilize is the highest advice of the scale-down window, and the lowest of the
// scale-up window.
func (a *autoscaler) stabilize(now time.Time, current, advice int) int {
	a.advice = append(a.advice, moment{now, advice})
	up, down := advice, advice
	for _, m := range a.advice {
		if age := now.Sub(m.at); age < window(a.behavior.ScaleUp) {
			up = min(up, m.n)
		}
		if age := now.Sub(m.at); age < window(a.behavior.ScaleDown) {
			down = max(down, m.n)
		}
	}
	return min(max(current, up), down)
}

func window(r *autoscaling.HPAScalingRules) time.Duration {
	return time.Duration(*r.StabilizationWindowSeconds) * time.Second
}

// limit is how far the policies let it go, of which the one that lets it go
// furthest counts.
func (a *autoscaler) limit(now time.Time, current, desired int) int {
	most, least := current, current
	for _, p := range a.behavior.ScaleUp.Policies {
		most = max(most, apply(p, current-a.changed(now, p), +1))
	}
	for _, p := range a.behavior.ScaleDown.Policies {
		least = min(least, apply(p, current-a.changed(now, p), -1))
	}
	return min(max(desired, least), most)
}

// apply is how far a policy lets it go from how many there were before its
// period.
func apply(p autoscaling.HPAScalingPolicy, before, sign int) int {
	if p.Type == autoscaling.PodsScalingPolicy {
		return before + sign*int(p.Value)
	}
	n := float64(before) * (1 + float64(sign)*float64(p.Value)/100)
	if sign > 0 {
		return int(math.Ceil(n))
	}
	return int(n)
}

// changed is how many replicas more there are than before the policy's period.
func (a *autoscaler) changed(now time.Time, p autoscaling.HPAScalingPolicy) (n int) {
	for _, m := range a.changes {
		if now.Sub(m.at) < time.Duration(p.PeriodSeconds)*time.Second {
			n += m.n
		}
	}
	return n
}

// It goes up at once and as far as the best policy lets it, comes down when the
// window is over and in steps, and stays where it cannot know better.
func TestAutoscaler(t *testing.T) {
	seconds := func(n int32) *int32 { return &n }
	a := &autoscaler{min: 1, max: 20, behavior: &autoscaling.HorizontalPodAutoscalerBehavior{
		ScaleUp: &autoscaling.HPAScalingRules{StabilizationWindowSeconds: seconds(0), Policies: []autoscaling.HPAScalingPolicy{
			{Type: autoscaling.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}, {Type: autoscaling.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
		}},
		ScaleDown: &autoscaling.HPAScalingRules{StabilizationWindowSeconds: seconds(30), Policies: []autoscaling.HPAScalingPolicy{
			{Type: autoscaling.PercentScalingPolicy, Value: 50, PeriodSeconds: 60},
		}},
	}}
	began, current := time.Now(), 1
	for i, step := range []struct {
		readings []reading
		want     int
	}{
		{[]reading{{1.05, true}}, 1},             // close enough
		{[]reading{{0.2, true}, {2.1, true}}, 3}, // the one that wants most
		{[]reading{{9, true}}, 7},                // four more
		{[]reading{{9, true}}, 14},               // twice as many
		{[]reading{{9, true}}, 20},               // the most that there may be
		{[]reading{{0.1, true}}, 20},             // half a minute ago it was needed
		{[]reading{{0.1, true}, {}}, 20},         // and one of them cannot be asked
		{[]reading{{0.1, true}}, 7},              // half of what there was a minute ago
		{[]reading{{0.1, true}}, 7},
		{[]reading{{}, {2, true}}, 14}, // who can be asked wants more
		{[]reading{{}}, 14},
	} {
		got, err := a.decide(began.Add(time.Duration(i)*syncPeriod), current, step.readings)
		if got != step.want || (err != nil) != (len(step.readings) == 1 && !step.readings[0].known) {
			t.Fatalf("step %d: %d replicas and %v, want %d", i, got, err, step.want)
		}
		current = got
	}
}
