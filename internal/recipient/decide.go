package recipient

import (
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/schedule"
)

// Action is what is to be done with a message.
type Action int

// The actions.
const (
	Deliver Action = iota
	Refuse         // its category is switched off
	Wait           // until Decision.Until, when the quiet hours end
	Gather         // into a digest of Decision.For
)

// Decision is what a recipient wants done with a message.
type Decision struct {
	Action Action
	Until  time.Time    // of Wait
	For    *Preferences // of Gather
	Reason string       // what the job's history says, unless Deliver
}

// message is what a decision is about: one of a category that is not essential.
type message struct {
	to       string // an id or an address, as its channel finds preferences
	category string
	urgent   bool // passes quiet hours, and is not gathered
	silent   bool // disturbs nobody: quiet hours are nothing to it
}

// decide is about a message at the time t.
func (p *Preferences) decide(m message, t time.Time) Decision {
	switch p.Categories[m.category] {
	case Off:
		return Decision{Action: Refuse, Reason: "preference: the recipient has switched off " + m.category}
	case Digest:
		if !m.urgent {
			return Decision{Action: Gather, For: p, Reason: fmt.Sprintf("gathered for the %s digest of %s", p.Digest.Window, p.spoken(p.WindowEnd(t)))}
		}
	}
	if m.urgent || m.silent {
		return Decision{}
	}
	if end, quiet := p.QuietUntil(t); quiet {
		return Decision{Action: Wait, Until: end, Reason: "put off: the recipient's quiet hours end at " + p.spoken(end)}
	}
	return Decision{}
}

// spoken is a time as the recipient's clock shows it.
func (p *Preferences) spoken(t time.Time) string {
	return t.In(p.zone()).Format("2006-01-02 15:04 ") + p.TimeZone
}

// zone is the time zone, which was checked when it was taken; one that this
// process does not know any more counts as UTC.
func (p *Preferences) zone() *time.Location {
	loc, err := schedule.Location(p.TimeZone)
	if err != nil {
		return time.UTC
	}
	return loc
}

// QuietUntil says when the quiet hours end that t is in, and whether it is in
// any. When the wall clock is put forward or back, they begin and end as a
// schedule's slots do: at the end of the gap, and the first time only.
func (p *Preferences) QuietUntil(t time.Time) (end time.Time, quiet bool) {
	if p.QuietHours == nil {
		return time.Time{}, false
	}
	loc := p.zone()
	end = schedule.Next(daily(p.QuietHours.To), loc, t)
	begin := schedule.Next(daily(p.QuietHours.From), loc, t)
	// It is quiet when the end comes before a beginning does. A gap that holds both
	// brings them at once: of hours that are over midnight the end is then that of
	// those which began the day before.
	return end, end.Before(begin) || end.Equal(begin) && p.QuietHours.From > p.QuietHours.To
}

// WindowEnd is when the digest's window ends that t is in: always after t. One
// that would end in quiet hours ends with them, and holds what comes in them.
func (p *Preferences) WindowEnd(t time.Time) time.Time {
	fields := daily(p.Digest.At)
	switch p.Digest.Window {
	case Hourly:
		fields = "0 * * * *"
	case Weekly:
		fields = onWeekday(p.Digest.At, p.Digest.Weekday)
	}
	if _, quiet := p.QuietUntil(t); quiet {
		t = p.quietSince(t).Add(-1) // its end may have been put off already
	}
	end := schedule.Next(fields, p.zone(), t)
	if until, quiet := p.QuietUntil(end); quiet {
		return until
	}
	return end
}

// quietSince is when the quiet hours began that t is in.
func (p *Preferences) quietSince(t time.Time) time.Time {
	const longest = 26 * time.Hour // on a day when the clock is put back
	begin := func(after time.Time) time.Time { return schedule.Next(daily(p.QuietHours.From), p.zone(), after) }
	since := begin(t.Add(-longest))
	for next := begin(since); !next.After(t); next = begin(next) {
		since = next
	}
	return since
}

// daily is a wall time, which was checked when it was taken, as cron fields.
func daily(at string) string { return onWeekday(at, "*") }

func onWeekday(at, day string) string {
	hour, minute := at[:2], at[3:]
	return fmt.Sprintf("%s %s * * %.3s", minute, hour, day) // cron's days have three letters
}
