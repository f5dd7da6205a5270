package mail

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/testkit"
)

// newLimited is a sender over the servers, tried in their order, that keeps to
// the limits.
func newLimited(t *testing.T, rdb redis.UniversalClient, limits string, servers ...*testkit.SMTP) *Sender {
	t.Helper()
	var rules limit.Rules
	if err := rules.UnmarshalText([]byte(limits)); err != nil {
		t.Fatal(err)
	}
	url := ""
	for i, srv := range servers {
		url += with(srv, fmt.Sprintf("name=p%d&priority=%d", i+1, i+1)) + " "
	}
	s, err := New(Options{
		Config:  Config{URL: url, From: "Shop <shop@example.com>", Timeout: patience},
		Senders: 10, Limits: limit.NewFleet(rdb, rules, testkit.Logger(t)),
		Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// grants is a Redis client's hook that notes when starts were granted: not
// before the question went out, and not after its answer came.
type grants struct {
	mu    sync.Mutex
	asked map[string][]time.Time
	told  map[string][]time.Time
}

func (g *grants) DialHook(next redis.DialHook) redis.DialHook { return next }

func (g *grants) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (g *grants) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		asked := time.Now()
		err := next(ctx, cmd)
		if c, ok := cmd.(*redis.Cmd); ok && err == nil && len(cmd.Args()) > 3 {
			if n, err := c.Int64(); err == nil && n < 0 { // takeScript's answer of a start
				g.mu.Lock()
				defer g.mu.Unlock()
				key := fmt.Sprint(cmd.Args()[3])
				g.asked[key], g.told[key] = append(g.asked[key], asked), append(g.told[key], time.Now())
			}
		}
		return err
	}
}

// TestProvidersKeepTheirRates: three workers send through two providers, the
// second of which is for what the first has no room for. Neither ever gets more
// than its share, and both get most of it.
func TestProvidersKeepTheirRates(t *testing.T) {
	const mails, first, second = 150, 20, 10
	server, one, two := testkit.Redis(t), testkit.NewSMTP(t), testkit.NewSMTP(t)
	g := &grants{asked: map[string][]time.Time{}, told: map[string][]time.Time{}}
	ids := make(chan int, mails)
	for i := range mails {
		ids <- i
	}
	close(ids)
	began := time.Now()
	var all sync.WaitGroup
	for range 3 {
		rdb := server.Client()
		rdb.AddHook(g)
		sender := newLimited(t, rdb, fmt.Sprintf("provider:p1=%d/s,provider:p2=%d/s", first, second), one, two)
		for range 10 {
			all.Go(func() {
				for i := range ids {
					m := testMessage()
					m.ID = fmt.Sprintf("mail-%d", i)
					for {
						_, err := sender.Send(t.Context(), m, nil)
						if err == nil {
							break
						}
						e := asError(err)
						if e == nil || e.Kind != Deferred {
							t.Errorf("mail %d: %v", i, err)
							return
						}
						<-time.After(e.After) // the queue's doing
					}
				}
			})
		}
	}
	all.Wait()
	took := time.Since(began)
	if n, m := len(one.Mails()), len(two.Mails()); n+m != mails || n < mails/3 || m < mails/6 {
		t.Errorf("the first took %d and the second %d of %d", n, m, mails)
	}
	if len(g.asked) != 2 {
		t.Errorf("starts were granted at %d keys", len(g.asked))
	}
	for key, asked := range g.asked {
		most := second
		if strings.Contains(key, "{provider:p1}") {
			most = first
		}
		told := g.told[key]
		slices.SortFunc(asked, time.Time.Compare)
		slices.SortFunc(told, time.Time.Compare)
		for i := most; i < len(asked); i++ {
			// The time from the last answer back to the first question is
			// longer than that between the starts: no late clock can
			// make this fail.
			if in := told[i].Sub(asked[i-most]); in < time.Second {
				t.Errorf("%s: %d starts in %v", key, most+1, in)
			}
		}
	}
	t.Logf("%d mails in %v", mails, took)
}

// TestFullProviders: a mail that all providers have no room for is put off
// until one has, at no attempt's cost; without Redis it goes through those
// alone that have no limit.
func TestFullProviders(t *testing.T) {
	server, one, two, free := testkit.Redis(t), testkit.NewSMTP(t), testkit.NewSMTP(t), testkit.NewSMTP(t)
	const limits = "provider:p1=1/h,provider:p2=2/h"
	sender := newLimited(t, server.Client(), limits, one, two)
	mustSend(t, sender, one, 1)
	mustSend(t, sender, two, 2)
	m := testMessage()
	m.ID = "mail-3"
	deferred := func(name string, sender *Sender, least, most time.Duration) {
		t.Helper()
		_, err := sender.Send(t.Context(), m, nil)
		if e := asError(err); e == nil || e.Kind != Deferred || e.Op != opChoose || e.After < least || e.After > most {
			t.Errorf("%s: %v, want it deferred by %v to %v", name, err, least, most)
		}
	}
	deferred("both are full", sender, 10*time.Minute, 10*time.Minute)
	if one.Seen(testkit.SMTPAtMail)+two.Seen(testkit.SMTPAtMail) != 2 {
		t.Error("a provider without room was offered a mail")
	}

	// The first has a turn for it at last, but is down: that is no failure of
	// the mail's as long as another has a turn for it.
	down := testkit.NewSMTP(t)
	pair := newLimited(t, server.Client(), "provider:p2=2/h", down, two)
	down.Close()
	deferred("one is down and one is full", pair, 10*time.Minute, 10*time.Minute)

	server.Kill()
	deferred("without Redis", sender, awayPause, 2*awayPause)
	mixed := newLimited(t, server.Client(), limits, one, free, free)
	if receipt, err := mixed.Send(t.Context(), m, nil); err != nil || receipt.Provider != "p3" {
		t.Errorf("without Redis: %+v, %v; want it to go through the one without a limit", receipt, err)
	}
}
