package job

import (
	"context"
	"time"

	"github.com/postrider/postrider/tasks"
)

// SendAgain accepts a new job like the one with that id, due at once, and notes
// it in the history of the old one. Every check of a new job is made again. The
// once names the intention: asked for a second time with the same, it answers as
// the first time and makes no other. A job whose payload is gone is a
// CodeConflict; of an unfinished one too, since it is still to be sent.
func (s *Service) SendAgain(ctx context.Context, id ID, actor, once string) (ID, error) {
	j, err := s.store.Find(ctx, id)
	switch {
	case err != nil:
		return "", err
	case j.PayloadGone:
		return "", Errorf(CodeConflict, "what it said was deleted by retention: it cannot be sent again")
	case !j.State.Final():
		return "", Errorf(CodeConflict, "the job is %s: it is still to be sent", j.State)
	}
	who := Caller{Name: actor}
	if once != "" {
		who.IdempotencyKey, who.BodyHash = "again "+string(id)+" "+once, []byte(id)
	}
	got, err := s.Accept(ctx, who, Submission{Type: j.Type, Payload: j.Payload, Queue: j.Queue})
	if err != nil || got.Replayed {
		return got.Base, err
	}
	_, err = s.change(ctx, id, func(j *Job, now time.Time) ([]Event, error) {
		return []Event{j.event(EventResent, now, Event{Actor: actor, Message: "as the job " + string(got.Base)})}, nil
	})
	return got.Base, err
}

// MaxRehearsal is the most jobs that one Rehearse tries.
const MaxRehearsal = 1000

// Rehearse accepts a copy of each job that the filter chooses, newest first and
// at most f.Limit of them (1 to MaxRehearsal), that goes as far as can be gone
// without an effect: see tasks.Rehearsable. The jobs themselves stay as they
// are. The copies are under one batch id; passed says of how many there is none,
// since their payload is gone, is refused today, or cannot be rehearsed.
func (s *Service) Rehearse(ctx context.Context, f Filter, actor string) (batch ID, made []ID, passed int, err error) {
	bad := f.checkRetry()
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
