package job

import (
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/tasks"
)

// SendAgain accepts a new job like the one with that id, due at once, and notes
// in the history of each which the other is. Every check of a new job is made
// again. A job whose payload is gone is a CodeConflict; an unfinished one too,
// since it is still to be sent. Under an IdempotencyKey that was met before, the
// first answer is given again, whatever has become of the job since.
func (s *Service) SendAgain(ctx context.Context, id ID, who Caller) (Accepted, error) {
	j, err := s.store.Find(ctx, id)
	if err != nil && CodeOf(err) != CodeNotFound {
		return Accepted{}, err
	}
	sub := Submission{Type: j.Type, Payload: j.Payload, Queue: j.Queue, Err: err}
	switch {
	case err != nil:
	case j.PayloadGone:
		sub.Err = Errorf(CodeConflict, "what it said was deleted, by retention or an erasure: it cannot be sent again")
	case !j.State.Final():
		sub.Err = Errorf(CodeConflict, "the job is %s: it is still to be sent", j.State)
	}
	got, err := s.Accept(ctx, who, sub)
	if err != nil {
		return Accepted{}, err
	}
	if err := s.noteResent(ctx, id, got, who.Name); err != nil {
		// An error would have the caller ask for a third.
		s.log.Warn("a job was sent again, which its history does not say", "job", id, "as", got.Base, "err", err)
	}
	return got, nil
}

// noteResent adds to the history of two jobs that one is the other once more, if
// a request that was made before has not.
func (s *Service) noteResent(ctx context.Context, old ID, got Accepted, actor string) error {
	as := "as the job " + string(got.Base)
	if got.Replayed {
		events, err := s.store.Events(ctx, old)
		noted := func(e Event) bool { return e.Kind == EventResent && e.Message == as }
		if err != nil || slices.ContainsFunc(events, noted) {
			return err
		}
	}
	_, err := s.store.Change(ctx, []ID{old, got.Base}, func(j *Job, now time.Time) ([]Event, error) {
		said := as
		if j.ID == got.Base {
			said = "what the job " + string(old) + " said"
		}
		return []Event{j.event(EventResent, now, Event{Actor: actor, Message: said})}, nil
	})
	return err
}

// MaxRehearsal is the most jobs that one Rehearse tries.
const MaxRehearsal = 1000

// Rehearse accepts a copy of each job that the filter chooses, newest first and
// at most f.Limit of them (1 to MaxRehearsal), that goes as far as can be gone
// without an effect: see tasks.Rehearsable. The jobs themselves stay as they
// are. The copies are under one batch id; passed says of how many there is none,
// since their payload is gone, is refused today, or cannot be rehearsed.
func (s *Service) Rehearse(ctx context.Context, f Filter, actor string) (batch ID, made []ID, passed int, err error) {
	bad := f.checkBulk(BulkRetry)
	if f.Limit < 1 || f.Limit > MaxRehearsal {
		bad.Add("limit", "must be from 1 to 1000 where sink is asked for")
	}
	if err := bad.OrNil(); err != nil {
		return "", nil, 0, Invalid(err)
	}
	found, err := s.store.List(ctx, f)
	if err != nil || len(found) == 0 {
		return "", nil, 0, err
	}
	subs := make([]Submission, 0, len(found))
	for _, listed := range found {
		j, err := s.store.Find(ctx, listed.ID)
		if CodeOf(err) == CodeNotFound { // retention came in between
			continue
		} else if err != nil {
			return "", nil, 0, err
		}
		if sub, ok := s.rehearsal(j); ok {
			subs = append(subs, sub)
		}
	}
	if len(subs) == 0 {
		return "", nil, len(found), nil
	}
	got, err := s.AcceptEach(ctx, Caller{Name: actor}, subs)
	if err != nil {
		return "", nil, 0, err
	}
	for _, a := range got.Jobs {
		if a.Err == nil {
			made = append(made, a.ID)
		}
	}
	return got.Base, made, len(found) - len(made), nil
}

// rehearsal is a copy of the job that has no effect.
func (s *Service) rehearsal(j Job) (Submission, bool) {
	t, known := s.types.Lookup(j.Type)
	if !known || j.PayloadGone {
		return Submission{}, false
	}
	payload, err := t.Decode(j.Payload)
	if err != nil {
		return Submission{}, false
	}
	r, able := payload.(tasks.Rehearsable)
	if !able {
		return Submission{}, false
	}
	r.Rehearse()
	raw, _, err := tasks.Encode(payload)
	return Submission{Type: j.Type, Payload: raw, Queue: j.Queue}, err == nil
}
