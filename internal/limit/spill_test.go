package limit

import (
	"container/heap"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

// play is jobs that come to limits under a clock of the test's own.
type play struct {
	t      *testing.T
	server *miniredis.Miniredis
	fleets []*Fleet // one a process
	now    time.Time
	starts map[Key][]time.Time
}

func newPlay(t *testing.T, text string) *play {
	p := &play{t: t, server: miniredis.RunT(t), now: time.Unix(1_700_000_000, 0), starts: map[Key][]time.Time{}}
	for range 3 {
		rdb := redis.NewClient(&redis.Options{Addr: p.server.Addr()})
		t.Cleanup(func() { rdb.Close() })
		p.fleets = append(p.fleets, NewFleet(rdb, rules(t, text), testkit.Logger(t)))
	}
	return p
}

// run lets so many jobs come at once, each a little later again than serve told
// it to, until each was served, and returns how long that took.
func (p *play) run(jobs int, serve func(f *Fleet, id string) (wait time.Duration)) time.Duration {
	p.t.Helper()
	chance := rand.New(rand.NewSource(1))
	began := p.now
	var queue visits
	for i := range jobs {
		heap.Push(&queue, visit{began, i})
	}
	for visited := 1; len(queue) > 0; visited++ {
		v := heap.Pop(&queue).(visit)
		p.now = v.at
		if visited > 10*jobs {
			p.t.Fatalf("%d jobs are left after %d visits in %v", len(queue)+1, visited, p.now.Sub(began))
		}
		f := p.fleets[chance.Intn(len(p.fleets))]
		if wait := serve(f, fmt.Sprint("job-", v.job)); wait > 0 {
			heap.Push(&queue, visit{p.now.Add(wait + time.Duration(chance.Int63n(int64(5*time.Millisecond)))), v.job})
		}
	}
	return p.now.Sub(began)
}

// take asks for a start at the key.
func (p *play) take(f *Fleet, k Key, id string, keep bool) Pass {
	p.t.Helper()
	p.server.SetTime(p.now)
	pass, err := f.take(p.t.Context(), f.doors[k], id, keep)
	if err != nil {
		p.t.Fatal(err)
	}
	return pass
}

// began notes a start, and fails if there are more in a second than the key is
// allowed.
func (p *play) began(k Key, most int) {
	p.t.Helper()
	starts := append(p.starts[k], p.now)
	p.starts[k] = starts
	if n := len(starts); n > most && p.now.Sub(starts[n-1-most]) < time.Second {
		p.t.Fatalf("%s: %d starts in %v", k, most+1, p.now.Sub(starts[n-1-most]))
	}
}

// TestSpill: jobs that may go to either of two providers pass over the one that
// has had its share. Both rates are kept and used, whichever is asked first.
func TestSpill(t *testing.T) {
	a, b := OfProvider("a"), OfProvider("b")
	rate := map[Key]int{a: 40, b: 10}
	for name, first := range map[string]func(id string) []Key{
		"a first": func(string) []Key { return []Key{a, b} },
		"b first": func(string) []Key { return []Key{b, a} },
		"now one, now the other": func(id string) []Key {
			if id[len(id)-1]%2 == 0 {
				return []Key{a, b}
			}
			return []Key{b, a}
		},
	} {
		t.Run(name, func(t *testing.T) {
			const jobs = 250
			p := newPlay(t, "provider:a=40/s,provider:b=10/s")
			took := p.run(jobs, func(f *Fleet, id string) time.Duration {
				var free Key
				soonest := time.Duration(0)
				for _, k := range first(id) {
					pass := p.take(f, k, id, false)
					if pass.Granted() {
						p.began(k, rate[k])
						return 0
					}
					if soonest == 0 || pass.After < soonest {
						free, soonest = k, pass.After
					}
				}
				pass := p.take(f, free, id, true)
				if pass.Granted() {
					p.began(free, rate[free])
					return 0
				}
				return pass.After
			})
			if used := jobs / (50 * took.Seconds()); used < 0.88 {
				t.Errorf("%.0f %% of the rates was used: it took %v", 100*used, took)
			}
			t.Logf("a had %d, b %d, in %v", len(p.starts[a]), len(p.starts[b]), took)
		})
	}
}

// TestLimitsTogether: a job that is held up at one limit does not use up
// another's rate, nor does it lose its turn there.
func TestLimitsTogether(t *testing.T) {
	domain, provider := OfRecipient("ann@example.org"), OfProvider("main")
	for _, rate := range []map[Key]int{{domain: 40, provider: 10}, {domain: 10, provider: 40}, {domain: 20, provider: 20}} {
		t.Run(fmt.Sprintf("%d at the domain, %d at the provider", rate[domain], rate[provider]), func(t *testing.T) {
			const jobs = 120
			p := newPlay(t, fmt.Sprintf("domain:example.org=%d/s,provider:main=%d/s", rate[domain], rate[provider]))
			took := p.run(jobs, func(f *Fleet, id string) time.Duration {
				outer := p.take(f, domain, id, true)
				if !outer.Granted() {
					return outer.After
				}
				inner := p.take(f, provider, id, true)
				if !inner.Granted() {
					outer.Undo()
					return inner.After
				}
				p.began(domain, rate[domain])
				p.began(provider, rate[provider])
				return 0
			})
			if used := jobs / (float64(min(rate[domain], rate[provider])) * took.Seconds()); used < 0.85 {
				t.Errorf("%.0f %% of the smaller rate was used: it took %v", 100*used, took)
			}
		})
	}
}

// TestUndo: a start that is given back is the next one's, and whoever gave it
// back need not queue up again.
func TestUndo(t *testing.T) {
	k := OfProvider("main")
	p := newPlay(t, "provider:main=1/s")
	f := p.fleets[0]
	first := p.take(f, k, "first", true)
	if !first.Granted() || p.take(f, k, "second", true).Granted() {
		t.Fatal("one a second is not one")
	}
	first.Undo()
	if p.take(f, k, "third", false).Granted() {
		t.Error("one that came last went ahead of those that wait")
	}
	if !p.take(f, k, "first", true).Granted() {
		t.Error("the one that gave its start back has to queue up again")
	}
	p.now = p.now.Add(1200 * time.Millisecond)
	if !p.take(f, k, "second", true).Granted() {
		t.Error("the second was not let through at its time")
	}
	if n, err := p.server.List(f.doors[k].starts); err != nil || len(n) != 1 {
		t.Errorf("%v is kept of the starts, %v", n, err)
	}
}
