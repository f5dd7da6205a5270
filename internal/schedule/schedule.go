// Package schedule keeps the timetable: named cron entries, the slots at which
// they are due, and what becomes of slots that were missed. It makes exactly
// one job of each slot, however many processes keep the timetable.
package schedule

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Bounds of the timetable.
const (
	MaxEntries  = 1000 // schedules that the API adds to, and that seeds hold
	MaxListed   = 2 * MaxEntries
	MaxMissed   = 100  // jobs made at once of missed slots
	MaxPage     = 1000 // runs that Runs returns
	KeepRuns    = 30 * 24 * time.Hour
	missedUsual = 10 // MissedLimit where none is given
)

// Missed says what becomes of slots at which no scheduler ran.
type Missed string

// The policies. A slot is missed when another slot followed it before it was
// seen to, or when it was seen to more than Grace late.
const (
	MissedSkip Missed = "skip" // leave them out
	MissedOnce Missed = "once" // make one job for all of them
	MissedAll  Missed = "all"  // make a job of each of the newest MissedLimit
)

// Grace is how late a slot may be seen to and still count as on time.
const Grace = time.Minute

// Overlap says what becomes of a slot while a job of the schedule is not over:
// it waits, runs or is held.
type Overlap string

// The policies.
const (
	OverlapAllow Overlap = "allow"
	OverlapSkip  Overlap = "skip"
)

// Source says whose word an entry is.
//
// An entry of a seed, built in or in the timetable file, follows its seed: it
// changes with it, and goes when the seed has gone. Pausing and resuming leave
// that as it is. One that was changed over the API is the API's from then on,
// and no seed touches it; when it is deleted its seed comes back at the next
// start. An entry of a seed cannot be deleted, only paused.
type Source string

// The sources.
const (
	FromBuiltin Source = "builtin"
	FromFile    Source = "file"
	FromAPI     Source = "api"
)

// Definition is what people say of a schedule.
type Definition struct {
	Name        string // see nameForm
	Type        string // of the job that each slot makes; durable
	Payload     json.RawMessage
	Queue       string // the type's own when empty
	Cron        string // see ParseCron
	TimeZone    string // an IANA name; "UTC" when empty
	Missed      Missed // MissedOnce when empty
	MissedLimit int    // of MissedAll, 1 to MaxMissed; 10 when 0
	Overlap     Overlap
}

// Entry is a schedule as it is kept. Times are the database's.
type Entry struct {
	Definition
	Paused    bool
	Source    Source
	CreatedAt time.Time // from which @every counts
	UpdatedAt time.Time // of the last change by people; rises with each
	NextAt    time.Time // first slot that was not seen to; zero while paused, or when there is none
	LastSlot  time.Time // last slot that was seen to
	LastAt    time.Time // when its last job was made
	LastJob   job.ID    // that job
}

// RunOutcome says what a slot came to.
type RunOutcome string

// The outcomes.
const (
	RunFired   RunOutcome = "fired"   // it made a job
	RunMissed  RunOutcome = "missed"  // left out by Definition.Missed, maybe with slots before it
	RunOverlap RunOutcome = "overlap" // left out by Definition.Overlap
	RunRefused RunOutcome = "refused" // the job could not be made
)

// Run is a line of a schedule's history.
type Run struct {
	Seq     int64 // rises in the order of insertion
	Name    string
	Slot    time.Time // zero for a run by hand
	At      time.Time
	Outcome RunOutcome
	JobID   job.ID // of RunFired
	Actor   string // whose hand it was
	Reason  string // unless RunFired

	JobState job.State // how JobID's job is now, as it is read; empty where it has gone
}

// nameForm allows what stands in a URL's path as it is.
var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9:._@+-]{0,99}$`)

// normal fills in defaults and checks all but the job; the error is a
// tasks.Invalid.
func (d *Definition) normal() (bad tasks.Invalid) {
	if !nameForm.MatchString(d.Name) {
		bad.Add("name", "must be 1 to 100 lower-case letters, digits and : . _ @ + -, beginning with a letter or digit")
	}
	if d.TimeZone == "" {
		d.TimeZone = "UTC"
	}
	if d.Missed == "" {
		d.Missed = MissedOnce
	}
	if d.MissedLimit == 0 {
		d.MissedLimit = missedUsual
	}
	if d.Overlap == "" {
		d.Overlap = OverlapAllow
	}
	d.Cron = strings.Join(strings.Fields(d.Cron), " ")
	loc, err := location(d.TimeZone)
	if err != nil {
		bad.Add("time_zone", err.Error())
		loc = time.UTC
	}
	if _, err := parse(d.Cron, loc, time.Now()); err != nil {
		bad.Add("cron", err.Error())
	}
	if policies := []Missed{MissedSkip, MissedOnce, MissedAll}; !slices.Contains(policies, d.Missed) {
		bad.Add("missed", "must be skip, once or all")
	}
	if d.MissedLimit < 1 || d.MissedLimit > MaxMissed {
		bad.Add("missed_limit", fmt.Sprintf("must be from 1 to %d", MaxMissed))
	}
	if policies := []Overlap{OverlapAllow, OverlapSkip}; !slices.Contains(policies, d.Overlap) {
		bad.Add("overlap", "must be allow or skip")
	}
	return bad
}

// same reports whether two definitions in their normal form say the same.
func (d *Definition) same(other *Definition) bool {
	a, b := *d, *other
	a.Payload, b.Payload = nil, nil
	return string(d.Payload) == string(other.Payload) && fmt.Sprint(a) == fmt.Sprint(b)
}

// submission asks for the job of a slot.
func (d *Definition) submission() job.Submission {
	return job.Submission{Type: d.Type, Payload: d.Payload, Queue: d.Queue}
}
