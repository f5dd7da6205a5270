package jobtest

import (
	"sync"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

var claimScenarios = []scenario{
	{"granted", func(s *suite) {
		id := s.accept()
		c := s.newClaim(id)
		got, err := s.store.Claim(s.ctx, c)
		s.ok(err, "claiming")
		equal(s, "verdict", got.Verdict, job.Granted)
		equal(s, "state", got.State, job.Running)
		j := got.Job
		equal(s, "the job's state", j.State, job.Running)
		equal(s, "runs", j.Runs, 1)
		equal(s, "attempts", j.Attempts, 0)
		equal(s, "token", j.Token, c.Token)
		equal(s, "worker", j.Worker, c.Worker)
		equal(s, "dispatched", j.Dispatched, true)
		equal(s, "payload", string(j.Payload), `{"n":1}`)
		s.near("started at", j.StartedAt, s.clock.Now())
		s.near("lease until", j.LeaseUntil, s.clock.Now().Add(lease))
		sameRow(s, "as claimed and as found", j, s.find(id))
		e := s.wantEvents(id, job.EventAccepted, job.EventStarted)[1]
		equal(s, "the event's run", e.Run, 1)
		equal(s, "the event's worker", e.Worker, c.Worker)
		equal(s, "the event's state", e.State, job.Running)
	}},

	{"unknown", func(s *suite) {
		got := s.tryClaim(job.NewID())
		equal(s, "verdict", got.Verdict, job.Unknown)
		equal(s, "state", got.State, "")
	}},

	{"one's own token is success again", func(s *suite) {
		id := s.accept()
		c := s.newClaim(id)
		for range 3 {
			got, err := s.store.Claim(s.ctx, c)
			s.ok(err, "claiming")
			equal(s, "verdict", got.Verdict, job.Granted)
			equal(s, "run", got.Job.Runs, 1)
			equal(s, "payload", string(got.Job.Payload), `{"n":1}`)
		}
		s.wantEvents(id, job.EventAccepted, job.EventStarted)
	}},

	{"one's own token after the settle is over", func(s *suite) {
		id := s.accept()
		c := s.newClaim(id)
		got, err := s.store.Claim(s.ctx, c)
		s.ok(err, "claiming")
		s.settle(got.Job, done())
		again, err := s.store.Claim(s.ctx, c)
		s.ok(err, "claiming")
		equal(s, "verdict", again.Verdict, job.Over)
	}},

	{"busy", func(s *suite) {
		id := s.accept()
		s.claim(id)
		got := s.tryClaim(id)
		equal(s, "verdict", got.Verdict, job.Busy)
		equal(s, "state", got.State, job.Running)
		if got.After <= lease-slack || got.After > lease {
			s.Errorf("it is to come back after %v, want about %v", got.After, lease)
		}
		equal(s, "runs", s.find(id).Runs, 1)
	}},

	{"not due", func(s *suite) {
		id := s.accept(func(n *job.New) { n.Delay = time.Minute })
		got := s.tryClaim(id)
		equal(s, "verdict", got.Verdict, job.NotDue)
		equal(s, "state", got.State, job.Waiting)
		if got.After <= time.Minute-slack || got.After > time.Minute {
			s.Errorf("it is to come back after %v, want about a minute", got.After)
		}
		equal(s, "runs", s.find(id).Runs, 0)
		s.clock.Advance(time.Minute)
		s.claim(id)
	}},

	{"over", func(s *suite) {
		for want, id := range map[job.State]job.ID{
			job.Done:       s.finish(done()),
			job.Failed:     s.finish(job.PermanentFailure("550 no")),
			job.Suppressed: s.finish(job.Outcome{Kind: job.OutcomeSuppressed}),
			job.Cancelled:  s.finish(job.Outcome{Kind: job.OutcomeCancelled}),
			job.Held:       s.finish(job.Outcome{Kind: job.OutcomeAmbiguous}, holding),
		} {
			before := s.wantState(id, want)
			got := s.tryClaim(id)
			equal(s, "verdict", got.Verdict, job.Over)
			equal(s, "state", got.State, want)
			sameRow(s, "refused", s.find(id), before)
		}
	}},

	{"twins at once", func(s *suite) {
		id := s.accept()
		verdicts := s.claimTogether(twins(s, id, 20))
		equal(s, "granted", verdicts[job.Granted], 1)
		equal(s, "busy", verdicts[job.Busy], 19)
		equal(s, "runs", s.find(id).Runs, 1)
		s.wantEvents(id, job.EventAccepted, job.EventStarted)
	}},

	{"twins of many jobs at once", func(s *suite) {
		var claims []job.Claim
		ids := s.acceptBatch(50)
		for _, id := range ids {
			claims = append(claims, twins(s, id, 3)...)
		}
		verdicts := s.claimTogether(claims)
		equal(s, "granted", verdicts[job.Granted], 50)
		equal(s, "busy", verdicts[job.Busy], 100)
		for _, id := range ids {
			s.wantEvents(id, job.EventAccepted, job.EventStarted)
		}
	}},

	{"one token many times at once", func(s *suite) {
		id := s.accept()
		c := s.newClaim(id)
		verdicts := s.claimTogether([]job.Claim{c, c, c, c, c, c, c, c})
		equal(s, "granted", verdicts[job.Granted], 8)
		equal(s, "runs", s.find(id).Runs, 1)
		s.wantEvents(id, job.EventAccepted, job.EventStarted)
	}},

	{"twins at a dead lease", func(s *suite) {
		id := s.accept()
		s.claim(id)
		s.die()
		verdicts := s.claimTogether(twins(s, id, 10))
		equal(s, "granted", verdicts[job.Granted], 1)
		equal(s, "busy", verdicts[job.Busy], 9)
		equal(s, "deaths", s.find(id).Deaths, 1)
	}},

	{"dead lease is free", func(s *suite) {
		id := s.accept()
		s.claim(id)
		s.die()
		j := s.claim(id)
		equal(s, "runs", j.Runs, 2)
		equal(s, "deaths", j.Deaths, 1)
		equal(s, "attempts", j.Attempts, 0)
		events := s.wantEvents(id, job.EventAccepted, job.EventStarted, job.EventDied, job.EventStarted)
		equal(s, "the run that died", events[2].Run, 1)
		equal(s, "the state it left", events[2].State, job.Waiting)
		equal(s, "the run that began", events[3].Run, 2)
	}},

	{"third death is held", func(s *suite) {
		id := s.accept()
		for range 3 {
			s.claim(id)
			s.die()
		}
		got := s.tryClaim(id)
		equal(s, "verdict", got.Verdict, job.Dropped)
		equal(s, "state", got.State, job.Held)
		j := s.wantState(id, job.Held)
		equal(s, "deaths", j.Deaths, 3)
		equal(s, "code", j.Code, job.CodeInternal)
		equal(s, "worker", j.Worker, "")
		equal(s, "finished", j.FinishedAt.IsZero(), true)
		equal(s, "the next verdict", s.tryClaim(id).Verdict, job.Over)
	}},

	{"dead past its point of no return, sent again", func(s *suite) {
		id := s.accept()
		s.passAndDie(id)
		j := s.claim(id)
		equal(s, "attempts", j.Attempts, 1)
		equal(s, "deaths", j.Deaths, 1)
		equal(s, "code", j.Code, job.CodeAmbiguous)
		equal(s, "the event's code", s.events(id)[2].Code, job.CodeAmbiguous)
		s.die() // this run did not pass it
		equal(s, "attempts after a free death", s.claim(id).Attempts, 1)
	}},

	{"dead past its point of no return, held", func(s *suite) {
		id := s.accept(holding)
		s.passAndDie(id)
		got := s.tryClaim(id)
		equal(s, "verdict", got.Verdict, job.Dropped)
		equal(s, "state", got.State, job.Held)
		equal(s, "attempts", s.find(id).Attempts, 1)
	}},

	{"dead past its point of no return, attempts used up", func(s *suite) {
		id := s.accept(once)
		s.passAndDie(id)
		got := s.tryClaim(id)
		equal(s, "verdict", got.Verdict, job.Dropped)
		equal(s, "state", got.State, job.Failed)
		j := s.wantState(id, job.Failed)
		equal(s, "attempts", j.Attempts, 1)
		s.near("finished at", j.FinishedAt, s.clock.Now())
	}},

	{"dead and its cancellation asked for", func(s *suite) {
		id := s.accept()
		s.claim(id)
		s.requestCancel(id)
		s.die()
		got := s.tryClaim(id)
		equal(s, "verdict", got.Verdict, job.Dropped)
		equal(s, "state", got.State, job.Cancelled)
		equal(s, "cancel requested", s.find(id).CancelRequested, false)
	}},

	{"expired", func(s *suite) {
		id := s.accept(s.expiring(time.Minute))
		s.clock.Advance(time.Minute + slack)
		got := s.tryClaim(id)
		equal(s, "verdict", got.Verdict, job.Dropped)
		equal(s, "state", got.State, job.Expired)
		j := s.wantState(id, job.Expired)
		equal(s, "code", j.Code, job.CodeExpired)
		equal(s, "runs", j.Runs, 0)
		s.near("finished at", j.FinishedAt, s.clock.Now())
		s.wantEvents(id, job.EventAccepted, job.EventExpired)
		equal(s, "the next verdict", s.tryClaim(id).Verdict, job.Over)
	}},

	{"expired while a run died", func(s *suite) {
		id := s.accept(s.expiring(time.Minute))
		s.claim(id)
		s.clock.Advance(time.Minute + slack)
		got := s.tryClaim(id)
		equal(s, "verdict", got.Verdict, job.Dropped)
		equal(s, "state", got.State, job.Expired)
		s.wantEvents(id, job.EventAccepted, job.EventStarted, job.EventDied, job.EventExpired)
	}},

	{"an expiry does not touch a living run", func(s *suite) {
		id := s.accept(s.expiring(10 * time.Second))
		j := s.claim(id)
		s.clock.Advance(10*time.Second + slack)
		equal(s, "verdict", s.tryClaim(id).Verdict, job.Busy)
		equal(s, "state", s.settle(j, done()).State, job.Done)
	}},
}

func holding(n *job.New) { n.OnAmbiguous = tasks.Hold }

func once(n *job.New) { n.MaxAttempts = 1 }

// expiring lets a job expire that long from now.
func (s *suite) expiring(after time.Duration) func(*job.New) {
	return func(n *job.New) { n.ExpiresAt = milli(s.clock.Now().Add(after)) }
}

// passAndDie runs a job past its point of no return and lets the run die.
func (s *suite) passAndDie(id job.ID) {
	s.Helper()
	j := s.claim(id)
	s.ok(s.store.PassNoReturn(s.ctx, job.RunRef{ID: id, Run: j.Runs}), "passing the point of no return")
	s.die()
}

func twins(s *suite, id job.ID, n int) []job.Claim {
	out := make([]job.Claim, n)
	for i := range out {
		out[i] = s.newClaim(id)
	}
	return out
}

// claimTogether makes all claims at once and counts the verdicts.
func (s *suite) claimTogether(claims []job.Claim) map[job.ClaimVerdict]int {
	s.Helper()
	var mu sync.Mutex
	verdicts := map[job.ClaimVerdict]int{}
	together(len(claims), func(i int) {
		got, err := s.store.Claim(s.ctx, claims[i])
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			s.Errorf("claiming: %v", err)
			return
		}
		verdicts[got.Verdict]++
		if got.Verdict == job.Granted && (got.Job.ID != claims[i].ID || got.Job.Token != claims[i].Token) {
			s.Errorf("claim %+v was granted job %s with token %q", claims[i], got.Job.ID, got.Job.Token)
		}
	})
	return verdicts
}

// sameRow checks that two readings of a job agree; not of when it was last
// written, which need not be every change.
func sameRow(s *suite, what string, got, want job.Job) {
	s.Helper()
	if d := diff(got, want, 0); d != "" {
		s.Errorf("%s: the job differs in %s", what, d)
	}
}
