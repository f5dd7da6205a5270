package job_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

var (
	now     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	backoff = tasks.Backoff{Base: time.Minute, Max: time.Hour}
)

// running is a job in its second run, with one attempt of three charged.
func running(with ...func(*job.Job)) *job.Job {
	j := &job.Job{
		ID: job.NewID(), State: job.Running, Runs: 2, Attempts: 1, MaxAttempts: 3, OnAmbiguous: tasks.Resend,
		Worker: "w", Token: "t", LeaseUntil: now.Add(time.Minute), SettledRun: 1, Dispatches: 1, Dispatched: true,
	}
	for _, f := range with {
		f(j)
	}
	return j
}

func lastAttempt(j *job.Job)     { j.MaxAttempts = 2 }
func held(j *job.Job)            { j.OnAmbiguous = tasks.Hold }
func cancelRequested(j *job.Job) { j.CancelRequested = true }
func passed(j *job.Job)          { j.NoReturnRun = j.Runs }
func passedBefore(j *job.Job)    { j.NoReturnRun = j.Runs - 1 }
func diedTwice(j *job.Job)       { j.Deaths = 2 }
func dead(j *job.Job)            { j.LeaseUntil = now }
func expired(j *job.Job)         { j.ExpiresAt = now }

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name    string
		job     *job.Job
		outcome job.Outcome
		state   job.State
		charge  int
		after   time.Duration
		code    job.Code
	}{
		{"done", running(), job.Succeeded("250"), job.Done, 1, 0, ""},
		{"suppressed", running(), job.Outcome{Kind: job.OutcomeSuppressed}, job.Suppressed, 0, 0, job.CodeSuppressed},
		{"cancelled", running(), job.Outcome{Kind: job.OutcomeCancelled}, job.Cancelled, 0, 0, job.CodeCancelled},
		{"given back", running(lastAttempt), job.Outcome{Kind: job.OutcomeGivenBack}, job.Waiting, 0, 0, ""},
		{"given back for later", running(), job.Outcome{Kind: job.OutcomeGivenBack, After: time.Second}, job.Waiting, 0, time.Second, ""},
		{"rate-limited", running(lastAttempt), job.Outcome{Kind: job.OutcomeRateLimited, After: time.Hour}, job.Waiting, 0, time.Hour, job.CodeRateLimited},
		{"rate-limited, at once", running(), job.Outcome{Kind: job.OutcomeRateLimited}, job.Waiting, 0, 100 * time.Millisecond, job.CodeRateLimited},
		{"permanent", running(), job.PermanentFailure("550"), job.Failed, 1, 0, job.CodePermanent},
		{"temporary", running(), job.TemporaryFailure("421"), job.Waiting, 1, 2 * time.Minute, job.CodeTemporary},
		{"temporary, when it says", running(), job.Outcome{Kind: job.OutcomeTemporary, After: time.Second}, job.Waiting, 1, time.Second, job.CodeTemporary},
		{"temporary, used up", running(lastAttempt), job.TemporaryFailure("421"), job.Failed, 1, 0, job.CodeTemporary},
		{"ambiguous", running(), job.Outcome{Kind: job.OutcomeAmbiguous}, job.Waiting, 1, 2 * time.Minute, job.CodeAmbiguous},
		{"ambiguous, held", running(held), job.Outcome{Kind: job.OutcomeAmbiguous}, job.Held, 1, 0, job.CodeAmbiguous},
		{"ambiguous, used up and held", running(held, lastAttempt), job.Outcome{Kind: job.OutcomeAmbiguous}, job.Held, 1, 0, job.CodeAmbiguous},
		{"ambiguous, used up", running(lastAttempt), job.Outcome{Kind: job.OutcomeAmbiguous}, job.Failed, 1, 0, job.CodeAmbiguous},
		{"of no kind", running(), job.Outcome{}, job.Failed, 1, 0, job.CodeInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := job.Plan(c.job, backoff, c.outcome)
			if s.State != c.state || s.Charge != c.charge || s.After != c.after || s.Code != c.code {
				t.Errorf("it is %s, charge %d, after %v, code %q", s.State, s.Charge, s.After, s.Code)
			}
			if s.RunRef != (job.RunRef{ID: c.job.ID, Run: 2}) || s.Worker != "w" || s.Message != c.outcome.Message || s.Outcome != c.outcome.Kind {
				t.Errorf("the settlement is not the run's: %+v", s)
			}
		})
	}
}

func TestApply(t *testing.T) {
	settlement := func(j *job.Job, s job.State) job.Settlement {
		return job.Settlement{
			RunRef: job.RunRef{ID: j.ID, Run: 2}, Worker: "w", State: s, Charge: 1, After: time.Minute,
			Outcome: job.OutcomeTemporary, Code: job.CodeTemporary, Message: "421", ReplyCode: 421,
		}
	}
	for _, c := range []struct {
		name string
		job  *job.Job
		to   job.State
		want job.State // empty: it must not apply
	}{
		{"waiting", running(), job.Waiting, job.Waiting},
		{"waiting, to be cancelled", running(cancelRequested), job.Waiting, job.Cancelled},
		{"done, to be cancelled", running(cancelRequested), job.Done, job.Done},
		{"held, to be cancelled", running(cancelRequested), job.Held, job.Held},
		{"failed", running(), job.Failed, job.Failed},
		{"with a dead lease", running(dead), job.Done, job.Done},
		{"of another run", running(func(j *job.Job) { j.Runs = 3 }), job.Done, ""},
		{"of a job that waits", running(func(j *job.Job) { j.State = job.Waiting }), job.Done, ""},
		{"of a job that is done", running(func(j *job.Job) { j.State = job.Done }), job.Failed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := *c.job
			s := settlement(c.job, c.to)
			e, mine := s.Apply(c.job, now)
			j := *c.job
			if c.want == "" {
				if mine || j.State != before.State || j.Attempts != before.Attempts || j.SettledRun != before.SettledRun {
					t.Errorf("it applied: %t, %+v", mine, j)
				}
				late := s.LateEvent(j.State, now)
				if late.Kind != job.EventLate || late.State != j.State || late.Run != 2 || late.ReplyCode != 421 {
					t.Errorf("the late event is %+v", late)
				}
				return
			}
			if !mine || j.State != c.want || j.Attempts != 2 || j.SettledRun != 2 || j.Worker != "" || !j.LeaseUntil.IsZero() || j.CancelRequested {
				t.Errorf("it applied: %t, %+v", mine, j)
			}
			if j.Code != job.CodeTemporary || j.Message != "421" || j.ReplyCode != 421 {
				t.Errorf("the outcome left %q, %q, %d", j.Code, j.Message, j.ReplyCode)
			}
			if j.FinishedAt.IsZero() == c.want.Final() {
				t.Errorf("it is %s and finished at %v", j.State, j.FinishedAt)
			}
			if c.want == job.Waiting && !j.RunAt.Equal(now.Add(time.Minute)) {
				t.Errorf("it runs at %v", j.RunAt)
			}
			if e.Kind != job.EventSettled || e.State != c.want || e.Run != 2 || e.Job != j.ID || e.Worker != "w" || !e.At.Equal(now) {
				t.Errorf("the event is %+v", e)
			}
		})
	}
}

func TestBury(t *testing.T) {
	for _, c := range []struct {
		name     string
		job      *job.Job
		want     job.State
		attempts int
		code     job.Code
	}{
		{"free", running(), job.Waiting, 1, ""},
		{"free, though an earlier run had passed", running(passedBefore), job.Waiting, 1, ""},
		{"free on the last attempt", running(lastAttempt), job.Waiting, 1, ""},
		{"to be cancelled", running(cancelRequested), job.Cancelled, 1, ""},
		{"third death", running(diedTwice), job.Held, 1, job.CodeInternal},
		{"third death, to be cancelled", running(diedTwice, cancelRequested), job.Cancelled, 1, ""},
		{"ambiguous", running(passed), job.Waiting, 2, job.CodeAmbiguous},
		{"ambiguous, held", running(passed, held), job.Held, 2, job.CodeAmbiguous},
		{"ambiguous, held, to be cancelled", running(passed, held, cancelRequested), job.Held, 2, job.CodeAmbiguous},
		{"ambiguous, to be cancelled", running(passed, cancelRequested), job.Cancelled, 2, job.CodeAmbiguous},
		{"ambiguous, used up", running(passed, lastAttempt), job.Failed, 2, job.CodeAmbiguous},
		{"ambiguous, third death", running(passed, diedTwice), job.Held, 2, job.CodeAmbiguous},
	} {
		t.Run(c.name, func(t *testing.T) {
			deaths := c.job.Deaths
			events := job.Bury(c.job, now)
			j := *c.job
			if j.State != c.want || j.Attempts != c.attempts || j.Code != c.code || j.Deaths != deaths+1 {
				t.Errorf("it is %s, attempts %d, code %q, deaths %d", j.State, j.Attempts, j.Code, j.Deaths)
			}
			if j.Worker != "" || !j.LeaseUntil.IsZero() || j.CancelRequested || j.Runs != 2 || j.SettledRun != 1 {
				t.Errorf("the run was not taken off it: %+v", j)
			}
			if j.FinishedAt.IsZero() == j.State.Final() {
				t.Errorf("it is %s and finished at %v", j.State, j.FinishedAt)
			}
			if j.State == job.Waiting && !j.RunAt.Equal(now) {
				t.Errorf("it runs at %v, want at once", j.RunAt)
			}
			if len(events) != 1 || events[0].Kind != job.EventDied || events[0].Run != 2 || events[0].Worker != "w" || events[0].State != c.want {
				t.Errorf("the events are %+v", events)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	state := func(s job.State) func(*job.Job) {
		return func(j *job.Job) { j.State, j.Worker, j.LeaseUntil = s, "", time.Time{} }
	}
	due := func(j *job.Job) { j.RunAt = now }
	later := func(j *job.Job) { j.RunAt = now.Add(time.Second) }
	for _, c := range []struct {
		name   string
		job    *job.Job
		token  string
		want   job.ClaimVerdict
		state  job.State
		after  time.Duration
		events []job.EventKind
	}{
		{"waiting and due", running(state(job.Waiting), due), "new", job.Granted, job.Running, 0, []job.EventKind{job.EventStarted}},
		{"not due", running(state(job.Waiting), later), "new", job.NotDue, job.Waiting, time.Second, nil},
		{"waiting with a token of before", running(state(job.Waiting), due), "t", job.Granted, job.Running, 0, []job.EventKind{job.EventStarted}},
		{"own token", running(), "t", job.Granted, job.Running, 0, nil},
		{"own token, lease ended", running(dead), "t", job.Granted, job.Running, 0, nil},
		{"busy", running(), "new", job.Busy, job.Running, time.Minute, nil},
		{"dead", running(dead), "new", job.Granted, job.Running, 0, []job.EventKind{job.EventDied, job.EventStarted}},
		{"dead, third time", running(dead, diedTwice), "new", job.Dropped, job.Held, 0, []job.EventKind{job.EventDied}},
		{"dead, to be cancelled", running(dead, cancelRequested), "new", job.Dropped, job.Cancelled, 0, []job.EventKind{job.EventDied}},
		{"dead and expired", running(dead, expired), "new", job.Dropped, job.Expired, 0, []job.EventKind{job.EventDied, job.EventExpired}},
		{"expired", running(state(job.Waiting), expired, later), "new", job.Dropped, job.Expired, 0, []job.EventKind{job.EventExpired}},
		{"expired, but it runs", running(expired), "new", job.Busy, job.Running, time.Minute, nil},
		{"done", running(state(job.Done)), "t", job.Over, job.Done, 0, nil},
		{"held", running(state(job.Held)), "new", job.Over, job.Held, 0, nil},
		{"failed and past its expiry", running(state(job.Failed), expired), "new", job.Over, job.Failed, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim := job.Claim{ID: c.job.ID, Token: c.token, Worker: "w2", Lease: 30 * time.Second}
			got, events := claim.Decide(c.job, now)
			if got.Verdict != c.want || got.After != c.after || c.job.State != c.state {
				t.Errorf("the answer is %+v, the job is %s", got, c.job.State)
			}
			if len(events) != len(c.events) {
				t.Fatalf("the events are %+v, want %v", events, c.events)
			}
			for i, e := range events {
				if e.Kind != c.events[i] || e.Job != c.job.ID || !e.At.Equal(now) {
					t.Errorf("event %d is %+v, want %s", i, e, c.events[i])
				}
			}
			if began := len(events) > 0 && events[len(events)-1].Kind == job.EventStarted; began {
				j := c.job
				if j.Runs != 3 || j.Token != c.token || j.Worker != "w2" || !j.LeaseUntil.Equal(now.Add(30*time.Second)) || !j.StartedAt.Equal(now) || !j.Dispatched {
					t.Errorf("the run that began is %+v", j)
				}
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for want, j := range map[string]job.Job{
		"scheduled": {State: job.Waiting, RunAt: now.Add(time.Second)},
		"queued":    {State: job.Waiting, RunAt: now},
		"retrying":  {State: job.Waiting, RunAt: now.Add(time.Second), Attempts: 1},
		"running":   {State: job.Running, Attempts: 1},
		"done":      {State: job.Done},
	} {
		if got := j.Status(now); got != want {
			t.Errorf("the status is %s, want %s", got, want)
		}
	}
}
