package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Change is what a caller asks a schedule to be.
type Change struct {
	Definition
	// Paused is whether it shall be; nil leaves it as it is, or not paused where
	// it is new.
	Paused *bool
	// Seen is the UpdatedAt of the entry that the caller saw: where that is not
	// what there is any more, Replace errs with ErrChanged. The zero time
	// replaces whatever there is.
	Seen time.Time
}

// ErrChanged is of a Replace that came after another's change; it comes with
// CodeConflict.
var ErrChanged = errors.New("the schedule is not the one that was seen")

// errStale is ErrChanged in words for people.
func errStale(name string, old *Entry) error {
	if old == nil {
		return job.Wrap(job.CodeConflict, ErrChanged, "the schedule %q was deleted meanwhile", name)
	}
	return job.Wrap(job.CodeConflict, ErrChanged, "the schedule %q was changed meanwhile, at %s UTC", name, old.UpdatedAt.UTC().Format(time.DateTime))
}

// check brings the definition into its normal form, payload included, and
// returns all that is wrong with it as a CodeInvalid.
func (s *Service) check(ctx context.Context, d *Definition) error {
	bad := d.normal()
	payload, err := s.jobs.Check(ctx, d.submission(), acceptedBy+d.Name)
	var refused *job.Error
	if errors.As(err, &refused) && len(refused.Fields) > 0 {
		bad = append(bad, refused.Fields...)
	} else if err != nil {
		return err
	}
	if err := bad.OrNil(); err != nil {
		return job.Invalid(err)
	}
	d.Payload = payload
	return nil
}

// Create makes a schedule. A name that is taken is a CodeConflict.
func (s *Service) Create(ctx context.Context, c Change, actor string) (Entry, error) {
	if err := s.check(ctx, &c.Definition); err != nil {
		return Entry{}, err
	}
	if err := s.room(ctx); err != nil {
		return Entry{}, err
	}
	var mine *Entry // of a try before, of which nobody knows whether it was committed
	e, err := s.store.Change(ctx, c.Name, func(old *Entry, now time.Time) (*Entry, error) {
		if old != nil && (mine == nil || !mine.CreatedAt.Equal(old.CreatedAt) || !mine.same(&old.Definition)) {
			return nil, job.Errorf(job.CodeConflict, "there is a schedule %q already", c.Name)
		}
		if old != nil {
			return old, nil
		}
		var err error
		mine, err = c.apply(nil, FromAPI, now)
		return mine, err
	})
	return s.changed("created", e, actor, err)
}

// room errs, CodeConflict, when there are as many schedules as there may be.
func (s *Service) room(ctx context.Context) error {
	all, err := s.store.List(ctx)
	if err == nil && len(all) >= MaxEntries {
		err = job.Errorf(job.CodeConflict, "there are %d schedules, which is the most there may be", MaxEntries)
	}
	return err
}

// Replace makes a schedule what c says, or creates it. It is the API's from
// then on: see Source. Of callers at the same moment the last one wins, unless
// Seen keeps it from that.
func (s *Service) Replace(ctx context.Context, c Change, actor string) (Entry, error) {
	if err := s.check(ctx, &c.Definition); err != nil {
		return Entry{}, err
	}
	done := "replaced"
	switch _, err := s.store.Get(ctx, c.Name); {
	case job.CodeOf(err) == job.CodeNotFound:
		if err := s.room(ctx); err != nil {
			return Entry{}, err
		}
		done = "created"
	case err != nil:
		return Entry{}, err
	}
	var mine *Entry // of a try before, of which nobody knows whether it was committed
	e, err := s.store.Change(ctx, c.Name, func(old *Entry, now time.Time) (*Entry, error) {
		if mine != nil && old != nil && old.UpdatedAt.Equal(mine.UpdatedAt) && old.same(&mine.Definition) {
			return old, nil
		}
		if !c.Seen.IsZero() && (old == nil || !old.UpdatedAt.Equal(c.Seen)) {
			return nil, errStale(c.Name, old)
		}
		var err error
		mine, err = c.apply(old, FromAPI, now)
		return mine, err
	})
	return s.changed(done, e, actor, err)
}

// apply makes the entry that c asks for out of the one there is. Where neither
// times nor pause change, a slot that is due stays so.
func (c *Change) apply(old *Entry, from Source, now time.Time) (*Entry, error) {
	e := Entry{CreatedAt: now}
	if old != nil {
		e = *old
	}
	e.Definition, e.Source, e.UpdatedAt = c.Definition, from, e.changedAt(now)
	if c.Paused != nil {
		e.Paused = *c.Paused
	}
	if old != nil && old.Cron == e.Cron && old.TimeZone == e.TimeZone && old.Paused == e.Paused {
		return &e, nil
	}
	return &e, e.restart(now)
}

// changedAt is the UpdatedAt of a change at that time: the next millisecond where
// the last change was in this one, so that each is told from the others.
func (e *Entry) changedAt(now time.Time) time.Time {
	if next := e.UpdatedAt.Add(time.Millisecond); next.After(now) {
		return next
	}
	return now
}

// restart has the entry begin with the first slot after now.
func (e *Entry) restart(now time.Time) error {
	e.NextAt = time.Time{}
	if e.Paused {
		return nil
	}
	c, err := e.clock()
	if err != nil {
		return fmt.Errorf("finding the next slot: %w", err)
	}
	e.NextAt = c.next(now)
	return nil
}

// Pause keeps a schedule from running; pausing twice is no error.
func (s *Service) Pause(ctx context.Context, name, actor string) (Entry, error) {
	return s.pause(ctx, name, actor, true)
}

// Resume lets a paused schedule run again, from its next slot on: those of the
// pause were not missed.
func (s *Service) Resume(ctx context.Context, name, actor string) (Entry, error) {
	return s.pause(ctx, name, actor, false)
}

func (s *Service) pause(ctx context.Context, name, actor string, paused bool) (Entry, error) {
	if !nameForm.MatchString(name) {
		return Entry{}, notFound(name)
	}
	e, err := s.store.Change(ctx, name, func(old *Entry, now time.Time) (*Entry, error) {
		if old == nil {
			return nil, notFound(name)
		}
		if old.Paused == paused {
			return old, nil
		}
		e := *old
		e.Paused, e.UpdatedAt = paused, e.changedAt(now)
		return &e, e.restart(now)
	})
	word := "resumed"
	if paused {
		word = "paused"
	}
	return s.changed(word, e, actor, err)
}

// Delete deletes a schedule; its history stays until it has had its time. One
// that is a seed's is a CodeConflict: see Source.
func (s *Service) Delete(ctx context.Context, name, actor string) error {
	if !nameForm.MatchString(name) {
		return notFound(name)
	}
	tried := false
	e, err := s.store.Change(ctx, name, func(old *Entry, _ time.Time) (*Entry, error) {
		switch {
		case old == nil && tried: // and committed, though that was not heard
			return nil, nil
		case old == nil:
			return nil, notFound(name)
		case old.Source != FromAPI:
			return nil, job.Errorf(job.CodeConflict, "the schedule %q is in the timetable (%s) and would come back: pause it instead", name, old.Source)
		}
		tried = true
		return nil, nil
	})
	e.Name = name
	_, err = s.changed("deleted", e, actor, err)
	return err
}

func (s *Service) changed(how string, e Entry, actor string, err error) (Entry, error) {
	if err != nil {
		return Entry{}, err
	}
	s.log.Info("a schedule was "+how, "schedule", e.Name, "by", actor)
	s.Nudge()
	return e, nil
}

// RunNow makes a job of a schedule at once, paused or not; its slots stay as
// they are. An idempotency key in who makes a repeat find the first job.
func (s *Service) RunNow(ctx context.Context, name string, who job.Caller) (job.Accepted, error) {
	e, err := s.Get(ctx, name)
	if err != nil {
		return job.Accepted{}, err
	}
	got, err := s.jobs.Accept(ctx, who, e.submission())
	if err != nil {
		return job.Accepted{}, err
	}
	// The job is accepted: what fails now costs a line of the history only.
	err = s.store.Note(ctx, Run{Name: name, At: got.At, Outcome: RunFired, JobID: got.Base, Actor: who.Name})
	if err != nil {
		s.log.Warn("a run by hand was not noted", "schedule", name, "job", got.Base, "err", err)
	}
	s.runs.WithLabelValues(string(RunFired)).Inc()
	return got, nil
}

// Get returns a schedule; CodeNotFound where there is none.
func (s *Service) Get(ctx context.Context, name string) (Entry, error) {
	if !nameForm.MatchString(name) {
		return Entry{}, notFound(name)
	}
	return s.store.Get(ctx, name)
}

// List returns all schedules by name.
func (s *Service) List(ctx context.Context) ([]Entry, error) { return s.store.List(ctx) }

// Runs returns the history of a schedule, newest first: runs with a sequence
// below before, or the last ones where it is 0; limit is 1 to MaxPage.
func (s *Service) Runs(ctx context.Context, name string, before int64, limit int) ([]Run, error) {
	if limit < 1 || limit > MaxPage {
		return nil, job.Invalid(tasks.Invalid{{Field: "limit", Problem: fmt.Sprintf("must be from 1 to %d", MaxPage)}})
	}
	if _, err := s.Get(ctx, name); err != nil {
		return nil, err
	}
	return s.store.Runs(ctx, name, before, limit)
}

// Latest returns the last run of each schedule that has one, by name.
func (s *Service) Latest(ctx context.Context) (map[string]Run, error) { return s.store.Latest(ctx) }

func notFound(name string) error {
	return job.Errorf(job.CodeNotFound, "there is no schedule %.100q", name)
}
