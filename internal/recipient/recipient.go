// Package recipient keeps what people want: which categories of messages reach
// them, one by one or gathered into a digest, and in which hours they are left
// in peace. It decides about a message when its job is accepted and again when
// it is carried out, and sends the digests.
package recipient

import "time"

// MaxCategories bounds Settings.Categories.
const MaxCategories = 100

// DigestCategory is the category of the mails that digests are. It can be
// switched off like any other, but is not gathered itself.
const DigestCategory = "digest"

// Choice says what becomes of a category's messages.
type Choice string

// The choices.
const (
	On     Choice = "on"     // each on its own
	Off    Choice = "off"    // none
	Digest Choice = "digest" // gathered into one mail a window
)

// Window says how long a digest gathers.
type Window string

// The windows.
const (
	Hourly Window = "hourly" // until the wall clock's next full hour
	Daily  Window = "daily"  // until the next DigestTimes.At
	Weekly Window = "weekly" // until the next DigestTimes.At of DigestTimes.Weekday
)

// Settings are what a person chooses. As JSON they are what is stored.
type Settings struct {
	TimeZone   string            `json:"time_zone"` // an IANA name; UTC when empty
	QuietHours *QuietHours       `json:"quiet_hours,omitempty"`
	Categories map[string]Choice `json:"categories,omitempty"` // On where it is not named
	Digest     DigestTimes       `json:"digest"`
}

// QuietHours are a stretch of each day, by the wall clock, HH:MM, From included
// and To not; To before From is on the next day.
type QuietHours struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// DigestTimes say when a window ends. A time within the quiet hours waits until
// those have ended.
type DigestTimes struct {
	Window  Window `json:"window"`            // Daily when empty
	At      string `json:"at,omitempty"`      // HH:MM; 08:00 when empty; nothing to Hourly
	Weekday string `json:"weekday,omitempty"` // "monday"; Monday when empty; of Weekly only
}

// Preferences are one recipient's.
type Preferences struct {
	// ID is the application's name for a user, to whom notifications go by it,
	// or a normalised mail address.
	ID string
	// Address is the normalised address that these preferences hold for, and
	// that digests go to; no two recipients have the same. It may be empty,
	// and is ID where that is an address.
	Address string
	Settings
	// Version rises with each change.
	Version   int64
	UpdatedAt time.Time
}
