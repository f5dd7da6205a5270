package jobtest

import (
	"errors"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
)

var changeScenarios = []scenario{
	{"writes what was decided", func(s *suite) {
		id := s.accept()
		at := milli(s.clock.Now().Add(time.Hour))
		want := s.find(id)
		payload := want.Payload
		want.Payload = nil
		decide := func(j *job.Job, now time.Time) ([]job.Event, error) {
			equal(s, "the payload to decide on", len(j.Payload), 0)
			s.near("the time to decide at", now, s.clock.Now())
			j.State, j.Worker, j.Token = job.Failed, "w", "t"
			j.RunAt, j.ExpiresAt, j.StartedAt, j.FinishedAt, j.LeaseUntil, j.DispatchAt = at, at, at, at, at, at
			j.CancelRequested, j.Dispatched = true, true
			j.Runs, j.Attempts, j.Deaths, j.NoReturnRun, j.SettledRun, j.Dispatches = 2, 3, 4, 5, 6, 7
			j.Code, j.Message, j.ReplyCode = job.CodePermanent, "Grüße", 550
			return []job.Event{{
				Job: id, At: now, Kind: job.EventResolved, State: job.Failed, Run: 2, Worker: "w",
				Actor: "ann", Code: job.CodePermanent, ReplyCode: 550, Message: "Grüße",
			}}, nil
		}
		changed, err := s.store.Change(s.ctx, []job.ID{id}, decide)
		s.ok(err, "changing")
		events, err := decide(&want, s.clock.Now())
		s.ok(err, "deciding")
		equal(s, "changed jobs", len(changed), 1)
		sameRow(s, "answered", changed[0], want)
		want.Payload = payload
		sameRow(s, "found", s.find(id), want)
		got := s.wantEvents(id, job.EventAccepted, job.EventResolved)[1]
		if d := diff(got, events[0], slack); d != "" {
			s.Errorf("the event differs in %s", d)
		}
	}},

	{"no events, no change", func(s *suite) {
		ids := s.acceptBatch(3)
		changed, err := s.store.Change(s.ctx, ids, func(j *job.Job, now time.Time) ([]job.Event, error) {
			j.Attempts = 9
			if j.ID != ids[1] {
				return nil, nil
			}
			return []job.Event{{Job: j.ID, At: now, Kind: job.EventRunNow, State: j.State}}, nil
		})
		s.ok(err, "changing")
		if len(changed) != 1 || changed[0].ID != ids[1] {
			s.Errorf("changed are %d jobs, want the second alone", len(changed))
		}
		for i, want := range []int{0, 9, 0} {
			equal(s, "attempts", s.find(ids[i]).Attempts, want)
		}
	}},

	{"several events of several jobs", func(s *suite) {
		ids := s.acceptBatch(50)
		changed, err := s.store.Change(s.ctx, ids, func(j *job.Job, now time.Time) ([]job.Event, error) {
			j.Attempts++
			return []job.Event{
				{Job: j.ID, At: now, Kind: job.EventRunNow, State: j.State},
				{Job: j.ID, At: now, Kind: job.EventRedispatched, State: j.State},
			}, nil
		})
		s.ok(err, "changing")
		equal(s, "changed jobs", len(changed), 50)
		for _, id := range ids {
			s.wantEvents(id, job.EventAccepted, job.EventRunNow, job.EventRedispatched)
		}
	}},

	{"an error undoes all and is returned", func(s *suite) {
		ids := s.acceptBatch(3)
		changed, err := s.store.Change(s.ctx, ids, func(j *job.Job, now time.Time) ([]job.Event, error) {
			if j.ID == ids[2] {
				return nil, errRefused
			}
			j.State = job.Cancelled
			return []job.Event{{Job: j.ID, At: now, Kind: job.EventCancelled, State: j.State}}, nil
		})
		if !errors.Is(err, errRefused) {
			s.Errorf("the error is %v, want decide's own", err)
		}
		equal(s, "changed jobs", len(changed), 0)
		for _, id := range ids {
			s.wantState(id, job.Waiting)
			s.wantEvents(id, job.EventAccepted)
		}
	}},

	{"an error keeps its code", func(s *suite) {
		id := s.accept()
		_, err := s.store.Change(s.ctx, []job.ID{id}, func(*job.Job, time.Time) ([]job.Event, error) {
			return nil, job.Errorf(job.CodeConflict, "no")
		})
		s.wantCode(err, job.CodeConflict)
	}},

	{"ids without a job are passed over", func(s *suite) {
		id := s.accept()
		seen := 0
		changed, err := s.store.Change(s.ctx, []job.ID{job.NewID(), id, job.NewID()}, func(j *job.Job, now time.Time) ([]job.Event, error) {
			seen++
			return []job.Event{{Job: j.ID, At: now, Kind: job.EventRunNow, State: j.State}}, nil
		})
		s.ok(err, "changing")
		equal(s, "jobs decided on", seen, 1)
		equal(s, "changed jobs", len(changed), 1)
		for _, ids := range [][]job.ID{nil, {job.NewID()}} {
			changed, err = s.store.Change(s.ctx, ids, func(*job.Job, time.Time) ([]job.Event, error) {
				s.Error("there was nothing to decide on")
				return nil, nil
			})
			s.ok(err, "changing nothing")
			equal(s, "changed jobs", len(changed), 0)
		}
	}},

	{"changes at once follow each other", func(s *suite) {
		ids := s.acceptBatch(4)
		back := slices.Clone(ids)
		slices.Reverse(back)
		together(20, func(i int) {
			order := ids
			if i%2 == 1 {
				order = back // two orders of locking would deadlock
			}
			_, err := s.store.Change(s.ctx, order, func(j *job.Job, now time.Time) ([]job.Event, error) {
				j.Attempts++
				return []job.Event{{Job: j.ID, At: now, Kind: job.EventRunNow, State: j.State}}, nil
			})
			if err != nil {
				s.Errorf("changing: %v", err)
			}
		})
		for _, id := range ids {
			equal(s, "attempts", s.find(id).Attempts, 20)
			equal(s, "events", len(s.events(id)), 21)
		}
	}},

	{"a change and a claim at once", func(s *suite) {
		for _, id := range s.acceptBatch(20) {
			claims := twins(s, id, 1)
			var claimed job.Claimed
			together(2, func(i int) {
				var err error
				if i == 0 {
					claimed, err = s.store.Claim(s.ctx, claims[0])
				} else {
					_, err = s.store.Change(s.ctx, []job.ID{id}, func(j *job.Job, now time.Time) ([]job.Event, error) {
						if j.State != job.Waiting {
							return nil, nil
						}
						j.State, j.FinishedAt = job.Cancelled, now
						return []job.Event{{Job: id, At: now, Kind: job.EventCancelled, State: job.Cancelled}}, nil
					})
				}
				if err != nil {
					s.Errorf("claiming and changing: %v", err)
				}
			})
			want := map[job.ClaimVerdict]job.State{job.Granted: job.Running, job.Over: job.Cancelled}[claimed.Verdict]
			s.wantState(id, want)
			equal(s, "events", len(s.events(id)), 2)
		}
	}},

	{"dispatched is noted of the last dispatch", func(s *suite) {
		ids := s.acceptBatch(3)
		s.alter(ids[1], func(j *job.Job) { j.Dispatches = 2 })
		sent := []job.Task{{ID: ids[0], Dispatch: 1}, {ID: ids[1], Dispatch: 1}, {ID: job.NewID(), Dispatch: 1}}
		for range 2 {
			s.ok(s.store.MarkDispatched(s.ctx, sent), "noting dispatches")
			for i, want := range []bool{true, false, false} {
				equal(s, "dispatched", s.find(ids[i]).Dispatched, want)
			}
		}
		s.ok(s.store.MarkDispatched(s.ctx, []job.Task{{ID: ids[1], Dispatch: 2}}), "noting a dispatch")
		equal(s, "dispatched", s.find(ids[1]).Dispatched, true)
		s.ok(s.store.MarkDispatched(s.ctx, nil), "noting nothing")
	}},

	{"dispatched is noted of 1,000 at once", func(s *suite) {
		ids := s.acceptBatch(1000)
		sent := make([]job.Task, len(ids))
		for i, id := range ids {
			sent[i] = job.Task{ID: id, Dispatch: 1}
		}
		s.ok(s.store.MarkDispatched(s.ctx, sent), "noting dispatches")
		s.clock.Advance(time.Minute)
		left, err := s.store.Undispatched(s.ctx, 0, 1000)
		s.ok(err, "listing the undispatched")
		equal(s, "undispatched", len(left), 0)
	}},
}
