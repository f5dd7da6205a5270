package jobtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

var acceptScenarios = []scenario{
	{"one job as it was asked for", func(s *suite) {
		n := newJob(func(n *job.New) {
			n.Type, n.Queue, n.Recipient, n.AcceptedBy = "email:send", "bulk", "ann@example.org", "shop"
			n.Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			n.Payload = []byte(`{"subject":"Grüße 🌍"}`)
			n.ExpiresAt = milli(s.clock.Now().Add(time.Hour))
			n.MaxAttempts, n.OnAmbiguous = 7, tasks.Hold
		})
		got, err := s.store.Accept(s.ctx, job.Request{Base: n.ID, Jobs: []job.New{n}})
		s.ok(err, "accepting")
		equal(s, "the receipt's base", got.Base, n.ID)
		equal(s, "replayed", got.Replayed, false)
		s.near("the receipt's time", got.At, s.clock.Now())

		j := s.find(n.ID)
		equal(s, "created", j.CreatedAt.Equal(got.At), true)
		equal(s, "run at", j.RunAt.Equal(got.At), true)
		equal(s, "due at", j.DueAt.Equal(j.RunAt), true)
		equal(s, "expires at", j.ExpiresAt.Equal(n.ExpiresAt), true)
		s.near("dispatch at", j.DispatchAt, got.At)
		equal(s, "payload", string(j.Payload), string(n.Payload))
		j.DueAt = time.Time{}
		j.Payload, j.CreatedAt, j.UpdatedAt, j.RunAt, j.ExpiresAt, j.DispatchAt = nil, time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
		want := job.Job{
			ID: n.ID, Type: "email:send", Queue: "bulk", Recipient: "ann@example.org", AcceptedBy: "shop", Trace: n.Trace,
			State: job.Waiting, MaxAttempts: 7, OnAmbiguous: tasks.Hold, Dispatches: 1,
		}
		if !reflect.DeepEqual(j, want) {
			s.Errorf("the job is %+v, want %+v", j, want)
		}
		e := s.wantEvents(n.ID, job.EventAccepted)[0]
		equal(s, "the event's state", e.State, job.Waiting)
		equal(s, "the event's actor", e.Actor, "shop")
		equal(s, "the event's time", e.At.Equal(got.At), true)
	}},

	{"accepted as suppressed", func(s *suite) {
		id := s.accept(func(n *job.New) { n.State, n.Message = job.Suppressed, "it bounced" })
		j := s.find(id)
		equal(s, "state", j.State, job.Suppressed)
		equal(s, "finished", j.FinishedAt.Equal(j.CreatedAt), true)
		equal(s, "code", j.Code, job.CodeSuppressed)
		equal(s, "message", j.Message, "it bounced")
		e := s.wantEvents(id, job.EventAccepted)[0]
		equal(s, "the event's state", e.State, job.Suppressed)
		equal(s, "the event's code", e.Code, job.CodeSuppressed)
		equal(s, "the event's message", e.Message, "it bounced")
		lost, err := s.store.Undispatched(s.ctx, 0, 10)
		s.ok(err, "listing what was not dispatched")
		equal(s, "undispatched", len(lost), 0)
	}},

	{"put off for a reason", func(s *suite) {
		id := s.accept(func(n *job.New) { n.RunAt, n.Message = milli(s.clock.Now().Add(time.Hour)), "quiet hours" })
		equal(s, "state", s.find(id).State, job.Waiting)
		equal(s, "the event's message", s.wantEvents(id, job.EventAccepted)[0].Message, "quiet hours")
	}},

	{"run at the later of delay and time", func(s *suite) {
		for _, c := range []struct {
			name  string
			delay time.Duration
			at    time.Duration // from now; 0 for no time
			want  time.Duration
		}{
			{"neither", 0, 0, 0},
			{"delay", 10 * time.Minute, 0, 10 * time.Minute},
			{"time", 0, time.Hour, time.Hour},
			{"time past", 0, -time.Hour, 0},
			{"delay later", 2 * time.Hour, time.Hour, 2 * time.Hour},
			{"time later", time.Hour, 2 * time.Hour, 2 * time.Hour},
			{"milliseconds", 1500 * time.Millisecond, 0, 1500 * time.Millisecond},
		} {
			id := s.accept(func(n *job.New) {
				n.Delay = c.delay
				if c.at != 0 {
					n.RunAt = milli(s.clock.Now().Add(c.at))
				}
			})
			j := s.find(id)
			s.near(c.name, j.RunAt, j.CreatedAt.Add(c.want))
			if c.at == 0 {
				equal(s, c.name+" exactly", j.RunAt.Sub(j.CreatedAt), c.want)
			}
			equal(s, c.name+": status", j.Status(j.CreatedAt), map[bool]string{true: "scheduled", false: "queued"}[c.want > 0])
		}
	}},

	{"a batch of 1,000", func(s *suite) { acceptMany(s, 1000) }},
	{"a batch of 10,000", func(s *suite) { acceptMany(s, job.MaxBatch) }},

	{"repeat of a request", func(s *suite) {
		for _, key := range []string{"", "repeat"} {
			r := batch(3)
			r.Key = job.IdempotencyKey{Owner: "a", Key: key, Hash: []byte("h"), Keep: time.Hour}
			first, err := s.store.Accept(s.ctx, r)
			s.ok(err, "accepting")
			s.settle(s.claim(r.Jobs[0].ID), done())
			s.clock.Advance(10 * time.Second)
			again, err := s.store.Accept(s.ctx, r)
			s.ok(err, "repeating")
			equal(s, "the base", again.Base, r.Base)
			equal(s, "the same time", again.At.Equal(first.At), true)
			equal(s, "replayed", again.Replayed, false)
			s.wantState(r.Jobs[0].ID, job.Done)
			s.wantEvents(r.Jobs[0].ID, job.EventAccepted, job.EventStarted, job.EventSettled)
			s.wantEvents(r.Jobs[2].ID, job.EventAccepted)
		}
	}},

	{"repeats of a request at once", func(s *suite) {
		r := batch(20)
		together(8, func(int) {
			got, err := s.store.Accept(s.ctx, r)
			if err != nil || got.Base != r.Base || got.Replayed {
				s.Errorf("the answer is %+v, %v", got, err)
			}
		})
		for _, n := range r.Jobs {
			s.wantEvents(n.ID, job.EventAccepted)
		}
	}},

	{"idempotency key replayed", func(s *suite) {
		first := keyed("a", "k", "body")
		receipt, err := s.store.Accept(s.ctx, first)
		s.ok(err, "accepting")
		s.clock.Advance(10 * time.Second)
		second := keyed("a", "k", "body")
		again, err := s.store.Accept(s.ctx, second)
		s.ok(err, "replaying")
		equal(s, "the base", again.Base, first.Base)
		equal(s, "the first time", again.At.Equal(receipt.At), true)
		equal(s, "replayed", again.Replayed, true)
		_, err = s.store.Find(s.ctx, second.Jobs[0].ID)
		s.wantCode(err, job.CodeNotFound)
	}},

	{"what an idempotency key was used for", func(s *suite) {
		r := keyed("a", "k", "body")
		r.Jobs = append(r.Jobs, newJob(), newJob())
		for i := range r.Jobs {
			r.Jobs[i].ID, r.Jobs[i].Batch = r.Base.Plus(i+1), r.Base
		}
		r.Jobs[1].State, r.Jobs[1].Message = job.Suppressed, "it bounced"
		r.Jobs[2].Delay = time.Hour
		_, met, err := s.store.Replay(s.ctx, r.Key)
		s.ok(err, "asking before")
		equal(s, "met before", met, false)
		receipt, err := s.store.Accept(s.ctx, r)
		s.ok(err, "accepting")
		s.settle(s.claim(r.Jobs[0].ID), job.Outcome{Kind: job.OutcomeDone}) // what became of it since is not what was answered

		first, met, err := s.store.Replay(s.ctx, r.Key)
		s.ok(err, "asking")
		equal(s, "met", met, true)
		equal(s, "the base", first.Base, r.Base)
		equal(s, "the time", first.At.Equal(receipt.At), true)
		equal(s, "jobs", len(first.Jobs), len(r.Jobs))
		slices.SortFunc(first.Jobs, func(a, b job.New) int { return strings.Compare(string(a.ID), string(b.ID)) })
		for i, n := range first.Jobs {
			want := r.Jobs[i]
			equal(s, "id", n.ID, want.ID)
			equal(s, "type", n.Type, want.Type)
			equal(s, "queue", n.Queue, want.Queue)
			equal(s, "state", n.State, cmp.Or(want.State, job.Waiting))
			equal(s, "message", n.Message, want.Message)
			equal(s, "due", n.Due(first.At).Equal(want.Due(receipt.At)), true)
		}

		other := r.Key
		other.Hash = []byte("other")
		_, _, err = s.store.Replay(s.ctx, other)
		s.wantCode(err, job.CodeConflict)
		s.clock.Advance(time.Hour + slack)
		_, met, err = s.store.Replay(s.ctx, r.Key)
		s.ok(err, "asking after its time")
		equal(s, "met after its time", met, false)
	}},

	{"idempotency key with another body", func(s *suite) {
		first, second := keyed("a", "k", "body"), keyed("a", "k", "other")
		_, err := s.store.Accept(s.ctx, first)
		s.ok(err, "accepting")
		_, err = s.store.Accept(s.ctx, second)
		s.wantCode(err, job.CodeConflict)
		_, err = s.store.Find(s.ctx, second.Jobs[0].ID)
		s.wantCode(err, job.CodeNotFound)
		s.wantEvents(first.Jobs[0].ID, job.EventAccepted)
	}},

	{"idempotency keys belong to their owner", func(s *suite) {
		for _, owner := range []string{"a", "b"} {
			r := keyed(owner, "k", "body of "+owner)
			got, err := s.store.Accept(s.ctx, r)
			s.ok(err, "accepting")
			equal(s, "the base", got.Base, r.Base)
			equal(s, "replayed", got.Replayed, false)
			s.wantState(r.Jobs[0].ID, job.Waiting)
		}
	}},

	{"idempotency key forgotten after its time", func(s *suite) {
		for range 2 { // the second replaces an old one too
			r := keyed("a", "k", string(job.NewID()))
			got, err := s.store.Accept(s.ctx, r)
			s.ok(err, "accepting")
			equal(s, "replayed", got.Replayed, false)
			s.wantState(r.Jobs[0].ID, job.Waiting)
			s.clock.Advance(time.Hour + slack)
		}
	}},

	{"racers for one idempotency key", func(s *suite) {
		const racers = 16
		var requests [racers]job.Request
		var receipts [racers]job.Receipt
		for i := range requests {
			requests[i] = keyed("a", "k", "body")
		}
		together(racers, func(i int) {
			var err error
			if receipts[i], err = s.store.Accept(s.ctx, requests[i]); err != nil {
				s.Errorf("racer %d: %v", i, err)
			}
		})
		winners := 0
		for i, r := range receipts {
			if !r.Replayed {
				winners++
			}
			if r.Base != receipts[0].Base || !r.At.Equal(receipts[0].At) {
				s.Errorf("racer %d was given %+v, another %+v", i, r, receipts[0])
			}
		}
		equal(s, "winners", winners, 1)
		equal(s, "jobs", len(s.list(job.Filter{Limit: 1000})), 1)
	}},

	{"racers for one idempotency key with other bodies", func(s *suite) {
		var won, refused atomic.Int32
		together(16, func(i int) {
			r := keyed("a", "k", string(rune('a'+i)))
			_, err := s.store.Accept(s.ctx, r)
			switch job.CodeOf(err) {
			case "":
				won.Add(1)
			case job.CodeConflict:
				refused.Add(1)
			default:
				s.Errorf("racer %d: %v", i, err)
			}
		})
		equal(s, "winners", won.Load(), 1)
		equal(s, "refused", refused.Load(), 15)
		equal(s, "jobs", len(s.list(job.Filter{Limit: 1000})), 1)
	}},

	{"many at once, a loser hurts nobody", func(s *suite) {
		_, err := s.store.Accept(s.ctx, keyed("a", "k", "body"))
		s.ok(err, "accepting")
		together(40, func(i int) {
			r := keyed("a", "k"+string(rune('0'+i)), "body")
			if i%8 == 0 {
				r = keyed("a", "k", "another body")
			}
			_, err := s.store.Accept(s.ctx, r)
			if want := map[bool]job.Code{true: job.CodeConflict}[i%8 == 0]; job.CodeOf(err) != want {
				s.Errorf("accept %d: %v, want code %q", i, err, want)
			}
		})
		equal(s, "jobs", len(s.list(job.Filter{Limit: 1000})), 36)
	}},

	{"an ended context", func(s *suite) {
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		n := newJob()
		_, err := s.store.Accept(ctx, job.Request{Base: n.ID, Jobs: []job.New{n}})
		s.wantCode(err, job.CodeTemporary)
		if !errors.Is(err, context.Canceled) {
			s.Errorf("error %v does not wrap the context's", err)
		}
	}},

	{"payloads come back as they were", func(s *suite) {
		large := append(append([]byte(`{"pad":"`), bytes.Repeat([]byte("ü🌍x\\u0000"), 1<<20/16)...), `"}`...)
		for _, payload := range [][]byte{[]byte(`{}`), []byte(`{"b" : 1, "a":"\u0000 世界 \" \\"}`), large} {
			id := s.accept(func(n *job.New) { n.Payload = payload })
			if got := s.find(id).Payload; !bytes.Equal(got, payload) {
				s.Errorf("a payload of %d bytes was found as %d other bytes", len(payload), len(got))
			}
			if got := s.claim(id).Payload; !bytes.Equal(got, payload) {
				s.Errorf("a payload of %d bytes was claimed as %d other bytes", len(payload), len(got))
			}
		}
	}},
}

// keyed is a request of one job under an idempotency key kept for an hour.
func keyed(owner, key, body string) job.Request {
	n := newJob()
	return job.Request{
		Base: n.ID, Jobs: []job.New{n},
		Key: job.IdempotencyKey{Owner: owner, Key: key, Hash: []byte(body), Keep: time.Hour},
	}
}

func acceptMany(s *suite, n int) {
	ids := s.acceptBatch(n)
	var found []job.ID
	f := job.Filter{Batch: s.find(ids[0]).Batch, Limit: 1000}
	for page := s.list(f); len(page) > 0; page = s.list(f) {
		for _, j := range page {
			found = append(found, j.ID)
		}
		f.Before = found[len(found)-1]
	}
	slices.Reverse(found)
	if !slices.Equal(found, ids) {
		s.Fatalf("%d jobs are there, want the %d of the batch in their order", len(found), n)
	}
	s.wantEvents(ids[0], job.EventAccepted)
	s.wantEvents(ids[n-1], job.EventAccepted)
}
