package schedule

import (
	"strings"
	"time"

	"github.com/postrider/postrider/tasks"
)

// PreviewSlots is how many of a schedule's next slots people are shown.
const PreviewSlots = 5

// Preview lists the first PreviewSlots slots after now of a schedule with these
// times; fewer where there are no more within five years. created is when it
// was made, from which @every counts; the zero time is now. The error is a
// tasks.Invalid that names cron or time_zone, in the words of Create.
func Preview(cron, timeZone string, created, now time.Time) ([]time.Time, error) {
	if timeZone == "" {
		timeZone = "UTC"
	}
	if created.IsZero() {
		created = now
	}
	var bad tasks.Invalid
	loc, err := location(timeZone)
	if err != nil {
		bad.Add("time_zone", err.Error())
		loc = time.UTC
	}
	c, err := parse(strings.Join(strings.Fields(cron), " "), loc, created)
	if err != nil {
		bad.Add("cron", err.Error())
	}
	if err := bad.OrNil(); err != nil {
		return nil, err
	}
	out := make([]time.Time, 0, PreviewSlots)
	for at := c.next(now); len(out) < PreviewSlots && !at.IsZero(); at = c.next(at) {
		out = append(out, at)
	}
	return out, nil
}
