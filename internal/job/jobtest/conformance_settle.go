package jobtest

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/job"
)

var settleScenarios = []scenario{
	{"every outcome", func(s *suite) {
		for _, c := range []struct {
			name     string
			outcome  job.Outcome
			with     func(*job.New)
			state    job.State
			attempts int
			code     job.Code
			after    time.Duration
		}{
			{"done", done(), nil, job.Done, 1, "", 0},
			{"temporary", temporary(time.Minute), nil, job.Waiting, 1, job.CodeTemporary, time.Minute},
			{"temporary, attempts used up", temporary(time.Minute), once, job.Failed, 1, job.CodeTemporary, 0},
			{"permanent", job.Outcome{Kind: job.OutcomePermanent, Message: "no such user", ReplyCode: 550}, nil, job.Failed, 1, job.CodePermanent, 0},
			{"rate-limited", job.Outcome{Kind: job.OutcomeRateLimited, Message: "100 an hour", After: time.Hour}, once, job.Waiting, 0, job.CodeRateLimited, time.Hour},
			{"suppressed", job.Outcome{Kind: job.OutcomeSuppressed, Message: "it bounced"}, nil, job.Suppressed, 0, job.CodeSuppressed, 0},
			{"cancelled", job.Outcome{Kind: job.OutcomeCancelled}, nil, job.Cancelled, 0, job.CodeCancelled, 0},
			{"ambiguous, sent again", job.Outcome{Kind: job.OutcomeAmbiguous, After: time.Minute}, nil, job.Waiting, 1, job.CodeAmbiguous, time.Minute},
			{"ambiguous, attempts used up", job.Outcome{Kind: job.OutcomeAmbiguous}, once, job.Failed, 1, job.CodeAmbiguous, 0},
			{"ambiguous, held", job.Outcome{Kind: job.OutcomeAmbiguous}, holding, job.Held, 1, job.CodeAmbiguous, 0},
			{"given back", job.Outcome{Kind: job.OutcomeGivenBack}, once, job.Waiting, 0, "", 0},
		} {
			s.Logf("outcome: %s", c.name)
			var with []func(*job.New)
			if c.with != nil {
				with = append(with, c.with)
			}
			claimed := s.claim(s.accept(with...))
			got := s.settle(claimed, c.outcome)
			j := s.wantState(claimed.ID, c.state)
			equal(s, "the answer's state", got.State, c.state)
			equal(s, "attempts", j.Attempts, c.attempts)
			equal(s, "runs", j.Runs, 1)
			equal(s, "settled run", j.SettledRun, 1)
			equal(s, "code", j.Code, c.code)
			equal(s, "message", j.Message, c.outcome.Message)
			equal(s, "reply code", j.ReplyCode, c.outcome.ReplyCode)
			equal(s, "worker", j.Worker, "")
			equal(s, "no lease", j.LeaseUntil.IsZero(), true)
			equal(s, "finished", !j.FinishedAt.IsZero(), c.state.Final())
			if c.state == job.Waiting {
				s.near("run at", j.RunAt, s.clock.Now().Add(c.after))
				equal(s, "the answer's run at", got.RunAt.Equal(j.RunAt), true)
				if got.After < 0 || got.After > c.after || got.After < c.after-slack {
					s.Errorf("it is to run after %v, want %v", got.After, c.after)
				}
			}
			e := s.wantEvents(j.ID, job.EventAccepted, job.EventStarted, job.EventSettled)[2]
			want := plan(claimed, c.outcome).Event(c.state, s.clock.Now())
			if d := diff(e, want, slack); d != "" {
				s.Errorf("the event differs in %s", d)
			}
		}
	}},

	{"repeated is success and changes nothing", func(s *suite) {
		for _, o := range []job.Outcome{done(), temporary(time.Minute), job.PermanentFailure("550 no")} {
			j := s.claim(s.accept())
			first := s.settle(j, o)
			before := s.find(j.ID)
			for range 2 {
				again := s.settle(j, o)
				equal(s, "state", again.State, first.State)
				equal(s, "run at", again.RunAt.Equal(first.RunAt), true)
			}
			sameRow(s, "repeated", s.find(j.ID), before)
			s.wantEvents(j.ID, job.EventAccepted, job.EventStarted, job.EventSettled)
		}
	}},

	{"repeated after the next run began", func(s *suite) {
		j := s.claim(s.accept())
		s.settle(j, temporary(time.Minute))
		s.clock.Advance(time.Minute)
		s.claim(j.ID)
		before := s.find(j.ID)
		s.settle(j, temporary(time.Minute))
		sameRow(s, "repeated", s.find(j.ID), before)
	}},

	{"repeated many times at once", func(s *suite) {
		j := s.claim(s.accept())
		together(10, func(int) {
			got, err := s.store.Settle(s.ctx, plan(j, done()))
			if err != nil || got.State != job.Done || got.Late {
				s.Errorf("the answer is %+v, %v", got, err)
			}
		})
		s.wantEvents(j.ID, job.EventAccepted, job.EventStarted, job.EventSettled)
	}},

	{"late after another run began", func(s *suite) {
		old := s.claim(s.accept())
		s.die()
		s.claim(old.ID)
		s.settleLate(old, done())
		e := s.wantEvents(old.ID, job.EventAccepted, job.EventStarted, job.EventDied, job.EventStarted, job.EventLate)[4]
		equal(s, "the event's run", e.Run, 1)
		equal(s, "the event's state", e.State, job.Running)
		equal(s, "the event's reply code", e.ReplyCode, 250)
		if !strings.HasPrefix(e.Message, "done,") {
			s.Errorf("the event says %q, not what the outcome was", e.Message)
		}
	}},

	{"late after another run settled", func(s *suite) {
		old := s.claim(s.accept())
		s.die()
		s.settle(s.claim(old.ID), done())
		s.settleLate(old, job.PermanentFailure("550 no"))
		s.wantState(old.ID, job.Done)
	}},

	{"late after the run was buried", func(s *suite) {
		old := s.claim(s.accept())
		s.die()
		s.alter(old.ID, func(j *job.Job) { job.Bury(j, s.clock.Now()) })
		s.settleLate(old, done())
		s.wantState(old.ID, job.Waiting)
	}},

	{"a lease that ended unnoticed does not make it late", func(s *suite) {
		j := s.claim(s.accept())
		s.die()
		equal(s, "state", s.settle(j, done()).State, job.Done)
	}},

	{"a job that is not there", func(s *suite) {
		j := s.claim(s.accept())
		j.ID = job.NewID()
		if got, err := s.store.Settle(s.ctx, plan(j, done())); err == nil && !got.Late {
			s.Errorf("it was settled as %+v", got)
		}
	}},

	{"cancellation asked for", func(s *suite) {
		for _, c := range []struct {
			outcome job.Outcome
			want    job.State
		}{
			{temporary(time.Minute), job.Cancelled},
			{job.Outcome{Kind: job.OutcomeRateLimited, After: time.Minute}, job.Cancelled},
			{job.Outcome{Kind: job.OutcomeGivenBack}, job.Cancelled},
			{done(), job.Done},
			{job.PermanentFailure("550 no"), job.Failed},
		} {
			j := s.claim(s.accept())
			s.requestCancel(j.ID)
			equal(s, "state after "+string(c.outcome.Kind), s.settle(j, c.outcome).State, c.want)
			after := s.wantState(j.ID, c.want)
			equal(s, "cancel requested", after.CancelRequested, false)
			equal(s, "finished", after.FinishedAt.IsZero(), false)
			events := s.events(j.ID)
			equal(s, "the event's state", events[len(events)-1].State, c.want)
		}
	}},

	{"words that no text column takes", func(s *suite) {
		for _, o := range []job.Outcome{
			{Kind: job.OutcomePermanent, Message: "550 a\x00b\xff\xfec 世界", ReplyCode: 550},
			{Kind: job.OutcomeDone, Message: "\x00"},
			{Kind: job.OutcomeTemporary, Message: strings.Repeat("\xc3\x00", 5000), After: time.Minute},
		} {
			j := s.claim(s.accept())
			s.settle(j, o)
			late := plan(j, o)
			late.Run = 7
			_, err := s.store.Settle(s.ctx, late)
			s.ok(err, "settling late")
			texts := []string{s.find(j.ID).Message}
			for _, e := range s.events(j.ID) {
				texts = append(texts, e.Message)
			}
			for _, text := range texts {
				if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
					s.Errorf("the text %.40q was not cleaned", text)
				}
			}
			if strings.Contains(o.Message, "世界") && !strings.Contains(texts[0], "世界") {
				s.Errorf("the text %q lost its good part", texts[0])
			}
		}
	}},

	{"many jobs at once", func(s *suite) {
		var claimed []job.Job
		for _, id := range s.acceptBatch(100) {
			claimed = append(claimed, s.claim(id))
		}
		together(100, func(i int) {
			o := []job.Outcome{done(), temporary(time.Minute), job.PermanentFailure("550 no")}[i%3]
			if got, err := s.store.Settle(s.ctx, plan(claimed[i], o)); err != nil || got.Late {
				s.Errorf("settling: %+v, %v", got, err)
			}
		})
		for i, j := range claimed {
			s.wantState(j.ID, []job.State{job.Done, job.Waiting, job.Failed}[i%3])
		}
	}},
}

// settleLate ends a run that was given up, which changes nothing.
func (s *suite) settleLate(j job.Job, o job.Outcome) {
	s.Helper()
	before := s.find(j.ID)
	got, err := s.store.Settle(s.ctx, plan(j, o))
	s.ok(err, "settling late")
	equal(s, "late", got.Late, true)
	equal(s, "the answer's state", got.State, before.State)
	sameRow(s, "settled late", s.find(j.ID), before)
}
