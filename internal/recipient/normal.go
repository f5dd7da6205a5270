package recipient

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/tasks"
)

// clockForm is HH:MM.
const clockForm = "15:04"

var weekdays = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

// NormalID brings a recipient's id into the form that it is kept in: an address
// normalised, a user's name as it is. The error has CodeInvalid.
func NormalID(id string) (string, error) {
	var problem string
	switch {
	case id == "":
		problem = "must not be empty"
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		problem = "must be UTF-8 without control characters"
	case strings.Contains(id, "@"):
		address, err := mail.Normalise(id)
		if err == nil {
			return address, nil
		}
		problem = "has an @, and is not a mail address"
	case len(id) > tasks.MaxStreamName:
		problem = fmt.Sprintf("must be at most %d bytes", tasks.MaxStreamName)
	default:
		return id, nil
	}
	return "", job.Invalid(tasks.Invalid{{Field: "id", Problem: problem}})
}

// normal fills in defaults, brings everything into the form that it is kept in
// and returns all that is wrong as a CodeInvalid.
func (p *Preferences) normal(essential func(category string) bool) error {
	var bad tasks.Invalid
	id, err := NormalID(p.ID)
	if err != nil {
		return err
	}
	p.ID = id
	p.normalAddress(&bad)
	if p.TimeZone == "" {
		p.TimeZone = "UTC"
	}
	if _, err := schedule.Location(p.TimeZone); err != nil {
		bad.Add("time_zone", err.Error())
	}
	if q := p.QuietHours; q != nil {
		checkClock(&bad, "quiet_hours.from", q.From)
		checkClock(&bad, "quiet_hours.to", q.To)
		if q.From == q.To {
			bad.Add("quiet_hours.to", "must not be the same as from: leave quiet_hours out for none")
		}
	}
	p.checkCategories(&bad, essential)
	p.Digest.normal(&bad)
	if err := bad.OrNil(); err != nil {
		return job.Invalid(err)
	}
	return nil
}

func (p *Preferences) normalAddress(bad *tasks.Invalid) {
	byAddress := strings.Contains(p.ID, "@")
	if p.Address != "" {
		address, err := mail.Normalise(p.Address)
		switch {
		case err != nil:
			bad.Add("address", "is not a mail address")
		case byAddress && address != p.ID:
			bad.Add("address", "must be the recipient's id, which is an address, or left out")
		}
		p.Address = address
	}
	if byAddress {
		p.Address = p.ID
	}
}

func (p *Preferences) checkCategories(bad *tasks.Invalid, essential func(string) bool) {
	if len(p.Categories) > MaxCategories {
		bad.Add("categories", fmt.Sprintf("has %d entries, the most is %d", len(p.Categories), MaxCategories))
		return
	}
	for name, choice := range p.Categories {
		field := fmt.Sprintf("categories.%.64s", name)
		switch {
		case !tasks.ValidCategory(name):
			bad.Add(field, "is not a category: up to 64 lower-case letters, digits, hyphens and underscores")
		case !slices.Contains([]Choice{On, Off, Digest}, choice):
			bad.Add(field, "must be on, off or digest")
		case essential(name) && choice != On:
			bad.Add(field, "is essential: it can only be on")
		case name == DigestCategory && choice == Digest:
			bad.Add(field, "is that of the digests themselves: it can only be on or off")
		case choice == Digest && p.Address == "":
			bad.Add("address", "must be given where a category is gathered: the digest goes there")
		}
	}
}

func (d *DigestTimes) normal(bad *tasks.Invalid) {
	if d.Window == "" {
		d.Window = Daily
	}
	if !slices.Contains([]Window{Hourly, Daily, Weekly}, d.Window) {
		bad.Add("digest.window", "must be hourly, daily or weekly")
	}
	if d.At == "" {
		d.At = "08:00"
	}
	checkClock(bad, "digest.at", d.At)
	if d.Weekday == "" {
		d.Weekday = weekdays[0]
	}
	if !slices.Contains(weekdays, d.Weekday) {
		bad.Add("digest.weekday", "must be one of "+strings.Join(weekdays, ", "))
	}
}

func checkClock(bad *tasks.Invalid, field, s string) {
	if _, err := time.Parse(clockForm, s); err != nil || len(s) != len(clockForm) {
		bad.Add(field, "must be a time of day from 00:00 to 23:59")
	}
}
