// Package alert tells people when the fleet needs them: rules are looked at again
// and again, and what one of them finds is sent to the targets of the settings when
// it has lasted, again while it lasts, and once more when it is over.
//
// Scheduler processes look, one at a time by a lease in SQL. What fires, and the
// notices that are still to be delivered, are in SQL: another process goes on
// where one has ended. The change of an alert and its notices are one transaction,
// so that of each change there is one notice a target; it is delivered at least
// once, under the same id if it has to be sent again.
package alert

import (
	"context"
	"time"
)

// Rule names what is looked at; it is a label of metrics.
type Rule string

// The rules, with what their alerts are about.
const (
	QueueAge  Rule = "queue_age"     // a queue: its oldest job waits too long
	Failures  Rule = "failures"      // too many of the jobs that end have failed
	NoWorkers Rule = "no_workers"    // a queue: jobs wait and no worker serves it
	Slots     Rule = "missed_slots"  // schedules made no job of a slot
	Provider  Rule = "provider_down" // a mail provider: workers leave it alone
	Redis     Rule = "redis_down"    // Redis does not answer
)

// Rules are all that there are.
var Rules = []Rule{QueueAge, Failures, NoWorkers, Slots, Provider, Redis}

// Finding is that a rule's condition holds now.
type Finding struct {
	Rule    Rule
	Subject string // what it is about, of a rule that can be about several things
	Summary string // a sentence for people, without recipients
}

// Alert is a finding over time. It is pending until it has lasted, and then
// firing until it has been gone for a while.
type Alert struct {
	Finding
	Since     time.Time // that the condition holds
	FiredAt   time.Time // zero while it is pending
	NoticedAt time.Time // of the last notice
	ClearAt   time.Time // since when the condition does not hold any more; zero while it does
}

// Firing reports whether people were told.
func (a Alert) Firing() bool { return !a.FiredAt.IsZero() }

type key struct {
	rule    Rule
	subject string
}

func (f Finding) key() key { return key{f.Rule, f.Subject} }

// Kind is what a notice tells.
type Kind string

// The kinds.
const (
	Fired    Kind = "firing"
	Repeated Kind = "still_firing"
	Resolved Kind = "resolved"
)

// Notice is what one target is to be told.
type Notice struct {
	ID     string // a UUID: the same however often it is sent
	Target string // see Config.Targets
	Kind   Kind
	Finding
	Since    time.Time // that the condition held
	Until    time.Time // of Resolved: up to when it did
	At       time.Time // when the alert became so, by the database's clock
	Attempts int       // including the one under way
}

// Lasted is how long the condition has held when the notice was written.
func (n Notice) Lasted() time.Duration {
	if n.Until.IsZero() {
		return n.At.Sub(n.Since)
	}
	return n.Until.Sub(n.Since)
}

// Change is what becomes of alerts at one moment.
type Change struct {
	Save    []Alert // new, or as they are now
	Drop    []Alert // that are over, or never lasted
	Notices []Notice
}

// Store keeps alerts and notices. Times are the database's. Errors are of package
// job: CodeTemporary where the database does not answer.
type Store interface {
	// Lead takes or keeps the lease of that name, and reports whether it is held.
	Lead(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	// Yield gives it up.
	Yield(ctx context.Context, name, holder string) error

	// Change hands all alerts to decide and writes what it makes of them, in one
	// transaction that no other such one overlaps. decide may be called again.
	Change(ctx context.Context, decide func(now time.Time, all []Alert) Change) error
	// Alerts lists all, those that fire longest first.
	Alerts(ctx context.Context) ([]Alert, error)

	// Claim takes the oldest notice of each target that is due, and keeps others
	// from doing so for that time; a notice waits for those of its target that are
	// older.
	Claim(ctx context.Context, hold time.Duration) ([]Notice, error)
	// Delivered forgets a notice.
	Delivered(ctx context.Context, id string) error
	// Postpone makes a notice due again after a while.
	Postpone(ctx context.Context, id string, after time.Duration) error

	// MissedSlots counts the slots of the last while of which no job was made,
	// because none could be or because they were missed.
	MissedSlots(ctx context.Context, within time.Duration) (int, error)
	// Outages names the mail providers that some process has reported within that
	// time to leave alone.
	Outages(ctx context.Context, within time.Duration) ([]string, error)
	// ReportOutages replaces what a process reports.
	ReportOutages(ctx context.Context, process string, providers []string) error
}
