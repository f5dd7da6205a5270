package chaos

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Report is what was counted in one run.
type Report struct {
	Name          string
	Faults        int
	Accepted      int // answered with 202, by the client's own record
	Unanswered    int // requests that had no answer when the run ended
	Done          int
	FailedAsMeant int // the mail server refuses their recipient for good
	Held          int // for a person, since three of their runs died
	Lost          int // not what they were to come to, or without their effect
	TwoJobs       int // requests that made a job each time they were repeated
	RunAgain      int // jobs that ran after their outcome was recorded
	AtOnce        int // jobs with two attempts at the same time
	Dismissed     int // workers that were told to end for good
	LeftBehind    int // runs that these left to their leases, or charged for their own end
	Notifications int // missing, double, or with a gap in their stream
	MailsTwice    int // mails beyond the first of their job
	MailsInWindow int // those of them for which the mail server and SQL show why
	MailsFlagged  int // those of them that an ambiguous run of the job owns up to
	Slots         int // of schedules, due in the run
	SlotsMissed   int
	SlotsDoubled  int
	Recovery      map[bar]time.Duration // the longest
}

// row is a line of the table.
type row struct {
	title string
	cell  func(Report) string
	bar   string
	// breach says what is wrong about a report; nil where anything may be.
	breach func(Report) bool
}

// none is a row of what must not be.
func none(title string, count func(Report) int) row {
	return row{title, func(r Report) string { return strconv.Itoa(count(r)) }, "0", func(r Report) bool { return count(r) > 0 }}
}

// tell is a row that has no bar.
func tell(title string, count func(Report) int) row {
	return row{title, func(r Report) string { return strconv.Itoa(count(r)) }, "", nil}
}

// within is a row about a recovery.
func within(title string, b bar) row {
	return row{
		title,
		func(r Report) string { return fmt.Sprintf("%.1f s", r.Recovery[b].Seconds()) },
		fmt.Sprintf("≤ %.0f s", bars[b].Seconds()),
		func(r Report) bool { return r.Recovery[b] > bars[b] },
	}
}

var rows = []row{
	tell("faults", func(r Report) int { return r.Faults }),
	tell("jobs accepted (answered with 202)", func(r Report) int { return r.Accepted }),
	tell("done", func(r Report) int { return r.Done }),
	tell("failed as they should", func(r Report) int { return r.FailedAsMeant }),
	tell("held for a person after a third death", func(r Report) int { return r.Held }),
	none("lost", func(r Report) int { return r.Lost }),
	none("requests that made two jobs", func(r Report) int { return r.TwoJobs }),
	none("run again after the outcome was recorded", func(r Report) int { return r.RunAgain }),
	none("two attempts at the same time", func(r Report) int { return r.AtOnce }),
	tell("workers taken away by SIGTERM", func(r Report) int { return r.Dismissed }),
	none("runs that these did not finish, nor give back uncharged", func(r Report) int { return r.LeftBehind }),
	none("notifications missing or double", func(r Report) int { return r.Notifications }),
	tell("mails sent twice", func(r Report) int { return r.MailsTwice }),
	{
		"of these, after a final 250 that was not seen, or not committed",
		func(r Report) string { return strconv.Itoa(r.MailsInWindow) }, "all",
		func(r Report) bool { return r.MailsInWindow < r.MailsTwice },
	},
	{
		"of these, marked ambiguous",
		func(r Report) string { return strconv.Itoa(r.MailsFlagged) }, "all",
		func(r Report) bool { return r.MailsFlagged < r.MailsTwice },
	},
	tell("slots of schedules", func(r Report) int { return r.Slots }),
	none("slots missed", func(r Report) int { return r.SlotsMissed }),
	none("slots doubled", func(r Report) int { return r.SlotsDoubled }),
	within("longest until a dead worker's jobs ran again", deadWorker),
	within("longest until jobs ran again after Redis was back", redisBack),
}

// Breaches names the rows whose bar the run broke.
func (r Report) Breaches() []string {
	var out []string
	for _, row := range rows {
		if row.breach != nil && row.breach(r) {
			out = append(out, fmt.Sprintf("%s: %s, the bar is %s", row.title, row.cell(r), row.bar))
		}
	}
	return out
}

// WriteTable writes the reports as a Markdown table, a column each.
func WriteTable(w io.Writer, reports ...Report) error {
	var b strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	head, rule := []string{"what"}, []string{"---"}
	for _, r := range reports {
		head, rule = append(head, r.Name), append(rule, "---:")
	}
	line(append(head, "bar")...)
	line(append(rule, "---:")...)
	for _, row := range rows {
		cells := []string{row.title}
		for _, r := range reports {
			cells = append(cells, row.cell(r))
		}
		line(append(cells, row.bar)...)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
