package alert

import (
	"time"
)

// Patience is how long things must last.
type Patience struct {
	Pending time.Duration // a condition, before it fires
	Hold    time.Duration // its absence, before it is over
	Repeat  time.Duration // between two notices while it fires
}

// step decides what becomes of alerts, given what is found now. Of a rule that is
// not known now nothing changes: that something cannot be seen is no recovery.
// What it says of an alert is the same however often it is asked at the same time.
func step(now time.Time, all []Alert, found []Finding, known map[Rule]bool, p Patience) (change Change, notices []Notice) {
	holds := make(map[key]Finding, len(found))
	for _, f := range found {
		holds[f.key()] = f
	}
	for _, a := range all {
		f, still := holds[a.key()]
		delete(holds, a.key())
		if !known[a.Rule] {
			continue
		}
		was := a
		if still {
			a.Summary = f.Summary
		}
		next, kind := a.step(now, still, p)
		switch {
		case next == nil:
			change.Drop = append(change.Drop, a)
		case kind != "" || !next.ClearAt.Equal(was.ClearAt):
			a = *next
			change.Save = append(change.Save, a)
		}
		if kind == Resolved && a.ClearAt.IsZero() {
			a.ClearAt = now
		}
		if kind != "" {
			notices = append(notices, Notice{Kind: kind, Finding: a.Finding, Since: a.Since, Until: a.ClearAt, At: now})
		}
	}
	for _, f := range found {
		if _, fresh := holds[f.key()]; !fresh || !known[f.Rule] {
			continue
		}
		delete(holds, f.key()) // found twice, told once
		a, kind := (Alert{Finding: f, Since: now}).step(now, true, p)
		change.Save = append(change.Save, *a)
		if kind != "" {
			notices = append(notices, Notice{Kind: kind, Finding: f, Since: now, At: now})
		}
	}
	return change, notices
}

// step is what an alert becomes, nil for nothing, and what is to be told.
func (a Alert) step(now time.Time, holds bool, p Patience) (next *Alert, kind Kind) {
	switch {
	case !a.Firing() && !holds:
		return nil, ""
	case !a.Firing():
		if now.Sub(a.Since) < p.Pending {
			return &a, ""
		}
		a.FiredAt, a.NoticedAt = now, now
		return &a, Fired
	case !holds:
		if a.ClearAt.IsZero() {
			a.ClearAt = now
		}
		if now.Sub(a.ClearAt) < p.Hold {
			return &a, ""
		}
		return nil, Resolved
	}
	a.ClearAt = time.Time{}
	if now.Sub(a.NoticedAt) < p.Repeat {
		return &a, ""
	}
	a.NoticedAt = now
	return &a, Repeated
}
