package schedule

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/tasks"
)

// Config says what the timetable holds beside what is built in. Every scheduler
// needs the same, since what one does not know any more it deletes.
type Config struct {
	Timetable string    `env:"POSTRIDER_TIMETABLE" help:"a YAML file with schedules of your own; all schedulers need the same one, which they read when they start"`
	Reminders Reminders `env:"POSTRIDER_REMINDERS" help:"who gets a mail each day at 08:00 of their time zone: Europe/Berlin=ann@example.com bob@example.com;America/New_York=carol@example.com"`
}

// Reminders are the recipients of the daily reminder by time zone.
type Reminders []Reminder

// Reminder is one time zone's part of them.
type Reminder struct {
	TimeZone   string
	Recipients []string
}

// UnmarshalText reads ZONE=ADDRESS ADDRESS…;… .
func (r *Reminders) UnmarshalText(text []byte) error {
	var out Reminders
	seen := map[string]bool{}
	for entry := range strings.SplitSeq(string(text), ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue // a semicolon at the end
		}
		zone, list, ok := strings.Cut(entry, "=")
		zone = strings.TrimSpace(zone)
		if !ok {
			return fmt.Errorf("%q is not of the form ZONE=ADDRESS ADDRESS", entry)
		}
		if _, err := location(zone); zone == "" || err != nil {
			return fmt.Errorf("%q must be an IANA time zone such as Europe/Berlin", zone)
		}
		if seen[zone] {
			return fmt.Errorf("time zone %s is named twice", zone)
		}
		seen[zone] = true
		p := tasks.Reminder{Recipients: strings.Fields(list)}
		if err := p.Validate(); err != nil {
			return fmt.Errorf("time zone %s: %w", zone, err)
		}
		out = append(out, Reminder{TimeZone: zone, Recipients: p.Recipients})
	}
	if len(out) == 0 {
		return errors.New("names nobody; leave it unset for no reminders")
	}
	*r = out
	return nil
}

// scheduleName is the name of the zone's schedule: reminder:europe.berlin.
func (r Reminder) scheduleName() string {
	return "reminder:" + strings.ReplaceAll(strings.ToLower(r.TimeZone), "/", ".")
}
