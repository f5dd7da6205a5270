package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/tasks"
)

// Seed is an entry that comes with the program or from the timetable file.
type Seed struct {
	Definition
	Paused bool   // as it is created; later it is people's word
	Source Source // FromBuiltin or FromFile
	Where  string // for errors: "timetable.yaml, line 12"
}

// Seeds lists the built-in timetable, the reminders and the timetable file of
// the configuration. An entry of the file stands in for a built-in one of its
// name.
func Seeds(c Config) ([]Seed, error) {
	var built []Seed
	timetable := tasks.Timetable()
	for _, r := range c.Reminders {
		timetable = append(timetable, tasks.Remind(r.scheduleName(), r.TimeZone, r.Recipients))
	}
	for _, t := range timetable {
		seed, err := builtin(t)
		if err != nil {
			return nil, err
		}
		built = append(built, seed)
	}
	if c.Timetable == "" {
		return built, nil
	}
	own, err := readFile(c.Timetable)
	if err != nil {
		return nil, fmt.Errorf("POSTRIDER_TIMETABLE: %w", err)
	}
	named := func(name string) bool {
		return slices.ContainsFunc(own, func(s Seed) bool { return s.Name == name })
	}
	built = slices.DeleteFunc(built, func(s Seed) bool { return named(s.Name) })
	if n := len(built) + len(own); n > MaxEntries {
		return nil, fmt.Errorf("POSTRIDER_TIMETABLE: with the built-in ones there are %d schedules, %d is the most there may be", n, MaxEntries)
	}
	return append(built, own...), nil
}

func builtin(t tasks.Timetabled) (Seed, error) {
	payload, err := json.Marshal(t.Payload)
	if err != nil {
		return Seed{}, fmt.Errorf("writing the payload of the built-in schedule %s: %w", t.Name, err)
	}
	s := Seed{Source: FromBuiltin, Where: "the built-in timetable", Definition: Definition{
		Name: t.Name, Type: t.Type, Payload: payload, Cron: t.Cron, TimeZone: t.TimeZone, Missed: Missed(t.Missed),
	}}
	if t.NoOverlap {
		s.Overlap = OverlapSkip
	}
	return s, nil
}

// Seed brings the timetable in line with the seeds, by the rules of Source: new
// ones are created, those that changed are changed, and those that are gone are
// deleted. All are checked before any is written; the error joins all that is
// wrong, by the entry's place. A built-in one that is refused, since its queue is
// none of POSTRIDER_QUEUES, counts as gone.
func (s *Service) Seed(ctx context.Context, seeds []Seed) error {
	var errs []error
	var good []Seed
	for _, seed := range seeds {
		switch err := s.check(ctx, &seed.Definition); {
		case err == nil:
			good = append(good, seed)
		case seed.Source == FromBuiltin:
			s.log.Warn("a built-in schedule is left out", "schedule", seed.Name, "err", err)
		default:
			errs = append(errs, fmt.Errorf("%s: schedule %q: %w", seed.Where, seed.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	seeds = good
	for i := range seeds {
		if _, err := s.store.Change(ctx, seeds[i].Name, seeds[i].settle); err != nil {
			return fmt.Errorf("seeding the schedule %s: %w", seeds[i].Name, err)
		}
	}
	return s.weed(ctx, seeds)
}

// settle is the Decision that keeps to a seed.
func (seed *Seed) settle(old *Entry, now time.Time) (*Entry, error) {
	c := Change{Definition: seed.Definition}
	switch {
	case old == nil:
		c.Paused = &seed.Paused
	case old.Source == FromAPI, old.Source == seed.Source && old.same(&seed.Definition):
		return old, nil
	}
	return c.apply(old, seed.Source, now)
}

// weed deletes the entries whose seed is gone.
func (s *Service) weed(ctx context.Context, seeds []Seed) error {
	all, err := s.store.List(ctx)
	if err != nil {
		return fmt.Errorf("looking for schedules whose seed is gone: %w", err)
	}
	for _, e := range all {
		if e.Source == FromAPI || slices.ContainsFunc(seeds, func(s Seed) bool { return s.Name == e.Name }) {
			continue
		}
		_, err := s.store.Change(ctx, e.Name, func(old *Entry, _ time.Time) (*Entry, error) {
			if old != nil && old.Source == FromAPI {
				return old, nil // changed in between
			}
			return nil, nil
		})
		if err != nil {
			return fmt.Errorf("deleting the schedule %s, whose seed is gone: %w", e.Name, err)
		}
		s.log.Info("a schedule was deleted: it is in the timetable no more", "schedule", e.Name, "source", e.Source)
	}
	return nil
}
