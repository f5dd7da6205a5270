package recipient

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// berlin has quiet hours and a digest by the clock of Berlin, where that is put
// forward at 02:00 on 29 March 2026 and back at 03:00 on 25 October.
func berlin(from, to string, d DigestTimes) *Preferences {
	p := &Preferences{ID: "ann", Address: "ann@example.com", Settings: Settings{TimeZone: "Europe/Berlin", Digest: d}}
	if from != "" {
		p.QuietHours = &QuietHours{From: from, To: to}
	}
	return p
}

// clock reads a time with its offset.
func clock(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05Z07:00", s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestQuietUntil(t *testing.T) {
	for _, test := range []struct{ name, from, to, at, until string }{ // until is empty where it is not quiet
		{"by day, before", "12:00", "14:00", "2026-06-01 11:59:59+02:00", ""},
		{"by day, its beginning", "12:00", "14:00", "2026-06-01 12:00:00+02:00", "2026-06-01 14:00:00+02:00"},
		{"by day, its last second", "12:00", "14:00", "2026-06-01 13:59:59+02:00", "2026-06-01 14:00:00+02:00"},
		{"by day, its end", "12:00", "14:00", "2026-06-01 14:00:00+02:00", ""},
		{"over midnight, in the evening", "22:00", "08:00", "2026-06-01 23:30:00+02:00", "2026-06-02 08:00:00+02:00"},
		{"over midnight, at midnight", "22:00", "08:00", "2026-06-02 00:00:00+02:00", "2026-06-02 08:00:00+02:00"},
		{"over midnight, in the morning", "22:00", "08:00", "2026-06-02 07:59:59+02:00", "2026-06-02 08:00:00+02:00"},
		{"over midnight, its end", "22:00", "08:00", "2026-06-02 08:00:00+02:00", ""},
		{"over midnight, by day", "22:00", "08:00", "2026-06-02 21:59:59+02:00", ""},
		{"over the gap", "22:00", "08:00", "2026-03-29 01:30:00+01:00", "2026-03-29 08:00:00+02:00"},
		{"its end is in the gap", "22:00", "02:30", "2026-03-29 01:59:59+01:00", "2026-03-29 03:00:00+02:00"},
		{"its end was in the gap", "22:00", "02:30", "2026-03-29 03:00:00+02:00", ""},
		{"its beginning is in the gap", "02:30", "05:00", "2026-03-29 03:00:00+02:00", "2026-03-29 05:00:00+02:00"},
		{"it is all in the gap", "02:15", "02:45", "2026-03-29 03:00:00+02:00", ""},
		{"before one that is all in the gap", "02:15", "02:45", "2026-03-29 01:59:59+01:00", ""},
		{"its end comes twice, before the first", "22:00", "02:30", "2026-10-25 02:29:00+02:00", "2026-10-25 02:30:00+02:00"},
		{"its end comes twice, after the first", "22:00", "02:30", "2026-10-25 02:31:00+02:00", ""},
		{"its end comes twice, before the second", "22:00", "02:30", "2026-10-25 02:29:00+01:00", ""},
		{"its beginning comes twice", "02:30", "05:00", "2026-10-25 02:15:00+01:00", "2026-10-25 05:00:00+01:00"},
		{"none", "", "", "2026-06-01 03:00:00+02:00", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			end, quiet := berlin(test.from, test.to, DigestTimes{}).QuietUntil(clock(t, test.at))
			if quiet != (test.until != "") {
				t.Fatalf("quiet is %v until %v", quiet, end)
			}
			if quiet && !end.Equal(clock(t, test.until)) {
				t.Errorf("it is quiet until %v", end)
			}
		})
	}
}

func TestWindowEnd(t *testing.T) {
	for _, test := range []struct {
		name     string
		digest   DigestTimes
		from, to string
		at, end  string
	}{
		{"hourly", DigestTimes{Hourly, "08:00", "monday"}, "", "", "2026-06-01 11:00:00+02:00", "2026-06-01 12:00:00+02:00"},
		{"hourly, in quiet hours", DigestTimes{Hourly, "08:00", "monday"}, "22:00", "07:30", "2026-06-01 22:30:00+02:00", "2026-06-02 07:30:00+02:00"},
		{"hourly, just before quiet hours", DigestTimes{Hourly, "08:00", "monday"}, "22:00", "07:30", "2026-06-01 21:59:00+02:00", "2026-06-02 07:30:00+02:00"},
		{"daily, before", DigestTimes{Daily, "08:00", "monday"}, "", "", "2026-06-01 07:59:59+02:00", "2026-06-01 08:00:00+02:00"},
		{"daily, at its end", DigestTimes{Daily, "08:00", "monday"}, "", "", "2026-06-01 08:00:00+02:00", "2026-06-02 08:00:00+02:00"},
		{"daily, at the end of quiet hours", DigestTimes{Daily, "08:00", "monday"}, "22:00", "08:00", "2026-06-01 07:00:00+02:00", "2026-06-01 08:00:00+02:00"},
		{"daily, within quiet hours", DigestTimes{Daily, "23:00", "monday"}, "22:00", "08:00", "2026-06-01 12:00:00+02:00", "2026-06-02 08:00:00+02:00"},
		{"daily, in the gap", DigestTimes{Daily, "02:30", "monday"}, "", "", "2026-03-28 12:00:00+01:00", "2026-03-29 03:00:00+02:00"},
		{"daily, twice", DigestTimes{Daily, "02:30", "monday"}, "", "", "2026-10-25 02:30:00+02:00", "2026-10-26 02:30:00+01:00"},
		{"daily, put off already", DigestTimes{Daily, "23:00", "monday"}, "22:00", "08:00", "2026-06-01 23:30:00+02:00", "2026-06-02 08:00:00+02:00"},
		{"hourly, put off already", DigestTimes{Hourly, "08:00", "monday"}, "22:30", "08:15", "2026-06-02 08:10:00+02:00", "2026-06-02 08:15:00+02:00"},
		{"weekly", DigestTimes{Weekly, "09:30", "sunday"}, "", "", "2026-06-01 12:00:00+02:00", "2026-06-07 09:30:00+02:00"},
		{"weekly, on the day", DigestTimes{Weekly, "09:30", "monday"}, "", "", "2026-06-01 09:30:00+02:00", "2026-06-08 09:30:00+02:00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := berlin(test.from, test.to, test.digest)
			if end := p.WindowEnd(clock(t, test.at)); !end.Equal(clock(t, test.end)) {
				t.Errorf("it ends at %v", end)
			}
		})
	}
}

// TestWindowsFollow: of any preferences, a window ends after every time in it
// and not in quiet hours, and windows neither overlap nor leave a time out.
func TestWindowsFollow(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"}
	rapid.Check(t, func(t *rapid.T) {
		at := func(name string) string {
			return time.Date(2026, 1, 1, rapid.IntRange(0, 23).Draw(t, name), rapid.IntRange(0, 59).Draw(t, name), 0, 0, time.UTC).Format(clockForm)
		}
		p := &Preferences{ID: "ann", Address: "ann@example.com", Settings: Settings{
			TimeZone: rapid.SampledFrom(zones).Draw(t, "zone"),
			Digest: DigestTimes{
				Window:  rapid.SampledFrom([]Window{Hourly, Daily, Weekly}).Draw(t, "window"),
				At:      at("at"),
				Weekday: rapid.SampledFrom(weekdays).Draw(t, "weekday"),
			},
		}}
		if rapid.Bool().Draw(t, "quiet") {
			p.QuietHours = &QuietHours{From: at("from"), To: at("to")}
			if p.QuietHours.From == p.QuietHours.To {
				p.QuietHours = nil
			}
		}
		if err := p.normal(func(string) bool { return false }); err != nil {
			t.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(1_600_000_000, 1_900_000_000).Draw(t, "now"), 0)
		end := p.WindowEnd(now)
		if !end.After(now) || end.Sub(now) > 9*24*time.Hour {
			t.Fatalf("the window of %v ends at %v", now, end)
		}
		if until, quiet := p.QuietUntil(end); quiet {
			t.Errorf("it ends at %v, in quiet hours until %v", end, until)
		}
		between := now.Add(time.Duration(rapid.Int64Range(0, int64(end.Sub(now))-1).Draw(t, "between")))
		if again := p.WindowEnd(between); again.After(end) || !again.After(between) {
			t.Errorf("the window of %v ends at %v, that of %v before it at %v", between, again, now, end)
		}
	})
}
