package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a bare container has no time zones

	"github.com/robfig/cron/v3"
)

// Bounds of the time of "@every": the timetable is looked at each second, and no
// slot is looked for that is further away than five years.
const (
	MinEvery = time.Second
	MaxEvery = 5 * 8760 * time.Hour
)

// clock tells when a schedule is due.
type clock interface {
	// next is the first slot after t, or the zero time when there is none
	// within five years.
	next(t time.Time) time.Time
}

// fields reads five cron fields and the descriptors @yearly to @hourly.
var fields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// location finds a time zone; "Local" is refused, since every process has its
// own.
func location(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New(`must be an IANA time zone such as Europe/Berlin, not "Local"`)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("must be an IANA time zone such as Europe/Berlin, and %.64q is none", name)
	}
	return loc, nil
}

// Location finds the time zone of an IANA name. The error is a phrase that
// follows the field's name.
func Location(name string) (*time.Location, error) { return location(name) }

// Next is the first time after t at which the wall clock in loc shows what the
// five cron fields name, as a schedule's slots are found; zero where there is
// none.
func Next(fields string, loc *time.Location, t time.Time) time.Time {
	c, err := parse(fields, loc, t)
	if err != nil {
		return time.Time{}
	}
	return c.next(t)
}

// parse reads a cron expression: five fields (minute, hour, day of month,
// month, day of week) of the wall clock in loc; one of @yearly @annually
// @monthly @weekly @daily @midnight @hourly; or "@every 90s", counted from
// anchor. The error is a phrase that follows the field's name.
func parse(expr string, loc *time.Location, anchor time.Time) (clock, error) {
	if text, ok := strings.CutPrefix(expr, "@every "); ok {
		d, err := time.ParseDuration(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("must have a duration such as 90s or 1h30m behind @every, and %.64q is none", text)
		case d < MinEvery || d > MaxEvery || d%time.Second != 0:
			return nil, fmt.Errorf("must have whole seconds behind @every, from %s to %.0fh", MinEvery, MaxEvery.Hours())
		}
		return every{anchor, d}, nil
	}
	// The parser takes a time zone too, and panics at one without fields.
	if strings.Contains(expr, "TZ=") {
		return nil, errors.New("must not hold a time zone: it has a field of its own")
	}
	parsed, err := fields.Parse(expr)
	if err != nil {
		return nil, fmt.Errorf("is not a cron expression: %w", err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, errors.New("is not a cron expression")
	}
	spec.Location = time.UTC
	w := wall{spec: spec, loc: loc}
	if w.next(time.Now()).IsZero() {
		return nil, errors.New("never comes: there is no such day")
	}
	return w, nil
}

// every is "@every d".
type every struct {
	anchor time.Time
	d      time.Duration
}

func (e every) next(t time.Time) time.Time {
	if t.Before(e.anchor) {
		return e.anchor.Add(e.d)
	}
	return e.anchor.Add((t.Sub(e.anchor)/e.d + 1) * e.d)
}

// wall is five fields on the wall clock of a place.
//
// When that clock is put forward, a time that it leaves out comes at the end
// of the gap; when it is put back, a time that it shows twice comes the first
// time only. A schedule of every hour is about the time that passes rather than
// about the clock's face: it goes on through both, so that a job of each minute
// has no hole of an hour (as cron of Debian and Red Hat has it).
type wall struct {
	spec *cron.SpecSchedule // in which UTC stands for the wall clock
	loc  *time.Location
}

const allHours = 1<<24 - 1

func (w wall) hourly() bool { return w.spec.Hour&allHours == allHours }

// next goes through the stretches between changes of the clock. Within one, the
// wall clock and the time are a fixed offset apart.
func (w wall) next(t time.Time) time.Time {
	limit := t.AddDate(6, 0, 0) // past the parser's own
	from := t.Add(1).In(w.loc)  // the first instant that counts
	for from.Before(limit) {
		start, end := from.ZoneBounds()
		if !end.IsZero() && !end.After(from) {
			// So it is on the last day of a leap year after 2037, which Go 1.26 takes for
			// one of the next year: no clock changes there.
			end = from.Add(24 * time.Hour)
		}
		_, offset := from.Zone()
		face := shown(from, offset)
		if !start.IsZero() && !w.hourly() {
			_, before := start.Add(-1).Zone()
			old := shown(start, before) // what the clock would have shown
			if from.Equal(start) && before < offset && w.on(old, shown(start, offset)) {
				return start.In(t.Location())
			}
			if old.After(face) { // it shows this again
				face = old
			}
		}
		found := w.from(face)
		if found.IsZero() {
			return found
		}
		at := found.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || at.Before(end) {
			return at.In(t.Location())
		}
		from = end.In(w.loc)
	}
	return time.Time{}
}

// shown is the wall clock at t, as a time of UTC.
func shown(t time.Time, offset int) time.Time {
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// from is the first time on the clock's face that the fields name, at or after
// face.
func (w wall) from(face time.Time) time.Time { return w.spec.Next(face.Add(-1)) }

// on reports whether the fields name a time from a until before b.
func (w wall) on(a, b time.Time) bool {
	found := w.from(a)
	return !found.IsZero() && found.Before(b)
}
