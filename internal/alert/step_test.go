package alert

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clockwork is alerts over time, a step a tick.
type clockwork struct {
	now  time.Time
	all  []Alert
	told []string
}

var everyRule = func() map[Rule]bool {
	out := map[Rule]bool{}
	for _, r := range Rules {
		out[r] = true
	}
	return out
}()

func (c *clockwork) tick(known map[Rule]bool, p Patience, found ...Finding) {
	change, notices := step(c.now, c.all, found, known, p)
	c.all = apply(c.all, change)
	for _, n := range notices {
		c.told = append(c.told, fmt.Sprintf("%s %s %s %s", n.Kind, n.Rule, n.Subject, n.Lasted()))
	}
	c.now = c.now.Add(5 * time.Second)
}

func (c *clockwork) want(t *testing.T, told ...string) {
	t.Helper()
	if !slices.Equal(c.told, told) {
		t.Errorf("told was\n%s\nwant\n%s", strings.Join(c.told, "\n"), strings.Join(told, "\n"))
	}
	c.told = nil
}

var (
	usual = Patience{Pending: time.Minute, Hold: 5 * time.Minute, Repeat: 4 * time.Hour}
	old   = Finding{QueueAge, "email", "old"}
)

// for runs so many ticks.
func (c *clockwork) run(d time.Duration, p Patience, found ...Finding) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.tick(everyRule, p, found...)
	}
}

func TestLifeOfAnAlert(t *testing.T) {
	c := &clockwork{now: time.Unix(1_700_000_000, 0)}
	c.run(time.Minute, usual, old)
	c.want(t) // it has not lasted a minute
	c.tick(everyRule, usual, old)
	c.want(t, "firing queue_age email 1m0s")
	c.run(4*time.Hour, usual, old)
	c.want(t, "still_firing queue_age email 4h1m0s")
	c.run(5*time.Minute, usual)
	c.want(t)
	c.tick(everyRule, usual)
	c.want(t, "resolved queue_age email 4h1m5s") // up to when it held, without the wait
	if len(c.all) != 0 {
		t.Errorf("left is %+v", c.all)
	}
}

func TestNoFlapping(t *testing.T) {
	c := &clockwork{now: time.Unix(1_700_000_000, 0)}
	for range 200 { // never a minute long
		c.run(55*time.Second, usual, old)
		c.tick(everyRule, usual)
	}
	c.want(t)
	c.run(2*time.Minute, usual, old)
	c.want(t, "firing queue_age email 1m0s")
	for range 30 { // never gone for five minutes
		c.run(4*time.Minute, usual)
		c.tick(everyRule, usual, old)
	}
	c.want(t)
	c.run(6*time.Minute, usual)
	if len(c.told) != 1 || !strings.HasPrefix(c.told[0], "resolved") {
		t.Errorf("told was %q", c.told)
	}
}

// What cannot be seen has neither begun nor ended.
func TestUnknownChangesNothing(t *testing.T) {
	c := &clockwork{now: time.Unix(1_700_000_000, 0)}
	c.run(2*time.Minute, usual, old)
	c.want(t, "firing queue_age email 1m0s")
	for range 1000 {
		c.tick(map[Rule]bool{Redis: true}, usual)
		c.tick(map[Rule]bool{Redis: true}, usual, old, Finding{NoWorkers, "x", ""})
	}
	c.want(t)
	if len(c.all) != 1 || !c.all[0].Firing() {
		t.Errorf("the alerts are %+v", c.all)
	}
}

func TestSubjectsAreApart(t *testing.T) {
	c := &clockwork{now: time.Unix(1_700_000_000, 0)}
	now := Patience{Repeat: time.Hour}
	bulk := Finding{QueueAge, "bulk", "old"}
	c.tick(everyRule, now, old, bulk, bulk)
	c.want(t, "firing queue_age email 0s", "firing queue_age bulk 0s")
	c.tick(everyRule, now, bulk)
	c.want(t, "resolved queue_age email 5s")
	c.tick(everyRule, now, bulk)
	c.want(t)
}

// Whatever comes, the notices of an alert take turns: it fires, maybe again and
// again, and then is resolved; and none comes sooner than it may.
func TestNoticesTakeTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clockwork{now: time.Unix(1_700_000_000, 0)}
		firing, last := false, time.Time{}
		for range rapid.IntRange(1, 300).Draw(t, "ticks") {
			var found []Finding
			if rapid.Bool().Draw(t, "holds") {
				found = append(found, old)
			}
			known := everyRule
			if rapid.IntRange(0, 9).Draw(t, "blind") == 0 {
				known = nil
			}
			c.tick(known, Patience{Pending: 10 * time.Second, Hold: 15 * time.Second, Repeat: time.Minute}, found...)
			for _, told := range c.told {
				kind := Kind(strings.Fields(told)[0])
				if (kind == Fired) == firing {
					t.Fatalf("told was %s while firing is %v", told, firing)
				}
				if kind == Repeated && c.now.Sub(last) < time.Minute {
					t.Fatalf("told again after %s", c.now.Sub(last))
				}
				firing, last = kind != Resolved, c.now
			}
			c.told = nil
			if len(c.all) > 1 || (len(c.all) == 1 && c.all[0].Firing()) != firing {
				t.Fatalf("the alerts are %+v while firing is %v", c.all, firing)
			}
		}
	})
}
