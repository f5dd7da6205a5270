package jobtest

import (
	"time"

	"github.com/postrider/postrider/internal/job"
)

const day = 24 * time.Hour

var retention = job.Retention{Done: 30 * day, Bodies: 7 * day, Failed: 90 * day}

var purgeScenarios = []scenario{
	{"each kind has its time", func(s *suite) {
		ended := []job.ID{
			s.finish(job.PermanentFailure("550 no")),
			s.finish(job.Outcome{Kind: job.OutcomeSuppressed}),
			s.finish(job.Outcome{Kind: job.OutcomeCancelled}),
			s.accept(s.expiring(time.Minute)),
		}
		s.clock.Advance(time.Minute + slack)
		equal(s, "verdict", s.tryClaim(ended[3]).Verdict, job.Dropped)
		first := s.finish(done())
		unfinished := []job.ID{
			s.accept(),
			s.finish(temporary(time.Hour)),
			s.finish(job.Outcome{Kind: job.OutcomeAmbiguous}, holding),
			s.claim(s.accept()).ID,
		}
		equal(s, "purged at once", s.purge(100), 0)

		s.clock.Advance(8 * day)
		second := s.finish(done())
		equal(s, "purged after 8 days", s.purge(100), 1)
		j := s.wantState(first, job.Done)
		equal(s, "payload gone", j.PayloadGone, true)
		equal(s, "payload", len(j.Payload), 0)
		equal(s, "events", len(s.events(first)), 3)
		equal(s, "payload of a newer one gone", s.find(second).PayloadGone, false)
		equal(s, "payload of one that failed gone", s.find(ended[0]).PayloadGone, false)
		equal(s, "purged again", s.purge(100), 0)

		s.clock.Advance(23 * day)
		s.purge(100)
		s.wantGone(first)
		equal(s, "payload gone", s.wantState(second, job.Done).PayloadGone, true)

		s.clock.Advance(60 * day)
		s.purge(100)
		s.wantGone(append(ended, second)...)
		for _, id := range unfinished {
			equal(s, "payload", string(s.find(id).Payload), `{"n":1}`)
		}
	}},

	{"in small batches", func(s *suite) {
		for range 12 {
			s.finish(done())
			s.finish(job.PermanentFailure("550 no"))
		}
		s.clock.Advance(91 * day)
		left := 24
		for turn := 1; ; turn++ {
			n := s.purge(5)
			now := len(s.list(job.Filter{Limit: 100}))
			if n > 5 || left-now > 10 {
				s.Fatalf("a batch of 5 of each kind took %d of 24 jobs and says %d", left-now, n)
			}
			if left = now; n < 5 {
				break
			}
			if turn == 10 {
				s.Fatalf("after %d batches of 5 there is still more", turn)
			}
		}
		equal(s, "jobs left", left, 0)
	}},

	{"idempotency keys", func(s *suite) {
		kept := keyed("a", "kept", "body")
		kept.Key.Keep = 3 * day
		for _, r := range []job.Request{keyed("a", "1", "body"), keyed("a", "2", "body"), kept} {
			_, err := s.store.Accept(s.ctx, r)
			s.ok(err, "accepting")
		}
		equal(s, "purged at once", s.purge(100), 0)
		s.clock.Advance(day)
		equal(s, "purged after a day", s.purge(100), 2)
		equal(s, "purged again", s.purge(100), 0)
		got, err := s.store.Accept(s.ctx, keyed("a", "kept", "body"))
		s.ok(err, "replaying")
		equal(s, "replayed", got.Replayed, true)
		s.wantState(kept.Jobs[0].ID, job.Waiting)
	}},
}

func (s *suite) purge(limit int) int {
	s.Helper()
	n, err := s.store.Purge(s.ctx, retention, limit)
	s.ok(err, "purging")
	return n
}

// wantGone checks that of a job nothing is left, nor of its history.
func (s *suite) wantGone(ids ...job.ID) {
	s.Helper()
	for _, id := range ids {
		_, err := s.store.Find(s.ctx, id)
		s.wantCode(err, job.CodeNotFound)
		if events, err := s.store.Events(s.ctx, id); err == nil && len(events) > 0 {
			s.Errorf("%d events are left of a purged job", len(events))
		}
	}
}
