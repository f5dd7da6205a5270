package job

import (
	"context"
	"time"
)

// replay gives the first answer again, if the key was used before: by what was
// recorded then, whatever a validation would say now.
func (s *Service) replay(ctx context.Context, key IdempotencyKey, subs []Submission, batch bool) (Accepted, bool, error) {
	first, met, err := s.store.Replay(ctx, key)
	if err != nil || !met {
		return Accepted{}, false, err
	}
	made := make(map[ID]New, len(first.Jobs))
	for _, n := range first.Jobs {
		made[n.ID] = n
	}
	out := Accepted{Base: first.Base, At: first.At, Replayed: true, Jobs: make([]Acceptance, len(subs))}
	for i, sub := range subs {
		id := memberID(first.Base, i, batch)
		n, ok := made[id]
		switch {
		case ok:
			out.Jobs[i] = answer(n, first.At, nil)
		case batch:
			out.Jobs[i] = Acceptance{Type: sub.Type, Err: s.refusal(sub)}
		default: // retention took the only job there was
			out.Jobs[i] = Acceptance{ID: id, Type: sub.Type, Status: "queued", RunAt: first.At}
		}
	}
	s.count.replayed.WithLabelValues().Inc()
	return out, true, nil
}

// refusal says why a job of a request was not made: as its validation does now,
// if that still finds it bad.
func (s *Service) refusal(sub Submission) error {
	c := Candidate{New: &New{}}
	if s.build(&c, sub, Caller{}, time.Now()); c.Err != nil {
		return c.Err
	}
	return Errorf(CodeInvalid, "it was refused when the request was first made, or is no longer kept")
}
