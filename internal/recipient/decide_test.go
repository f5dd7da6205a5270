package recipient

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/job"
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
		{"its end and the next beginning are in the gap", "02:30", "02:15", "2026-03-28 12:00:00+01:00", "2026-03-29 03:00:00+02:00"},
		{"its end and its beginning were in the gap", "02:30", "02:15", "2026-03-29 03:00:00+02:00", "2026-03-30 02:15:00+02:00"},
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

// TestQuietWhereClocksChange has quiet hours over both changes of clocks of three
// zones: by an hour, and by half an hour at Lord Howe.
func TestQuietWhereClocksChange(t *testing.T) {
	for _, test := range []struct{ zone, from, to, at, until string }{ // until is empty where it is not quiet
		// New York goes forward at 02:00 on 8 March 2026, and back at 02:00 on 1 November.
		{"America/New_York", "22:00", "02:30", "2026-03-08 01:59:59-05:00", "2026-03-08 03:00:00-04:00"},
		{"America/New_York", "22:00", "02:30", "2026-03-08 03:00:00-04:00", ""},
		{"America/New_York", "02:30", "06:00", "2026-03-08 01:59:59-05:00", ""},
		{"America/New_York", "02:30", "06:00", "2026-03-08 03:00:00-04:00", "2026-03-08 06:00:00-04:00"},
		{"America/New_York", "22:00", "01:30", "2026-11-01 01:29:59-04:00", "2026-11-01 01:30:00-04:00"},
		{"America/New_York", "22:00", "01:30", "2026-11-01 01:15:00-05:00", ""},
		{"America/New_York", "01:30", "06:00", "2026-11-01 01:15:00-05:00", "2026-11-01 06:00:00-05:00"},
		{"America/New_York", "00:00", "23:59", "2026-11-01 12:00:00-05:00", "2026-11-01 23:59:00-05:00"},
		// Lord Howe goes back from 02:00 to 01:30 on 5 April 2026, and forward from 02:00 to 02:30 on 4 October.
		{"Australia/Lord_Howe", "22:00", "02:15", "2026-10-04 01:59:59+10:30", "2026-10-04 02:30:00+11:00"},
		{"Australia/Lord_Howe", "22:00", "02:15", "2026-10-04 02:30:00+11:00", ""},
		{"Australia/Lord_Howe", "02:15", "06:00", "2026-10-04 02:30:00+11:00", "2026-10-04 06:00:00+11:00"},
		{"Australia/Lord_Howe", "02:00", "02:29", "2026-10-04 02:30:00+11:00", ""},
		{"Australia/Lord_Howe", "22:00", "01:45", "2026-04-05 01:44:59+11:00", "2026-04-05 01:45:00+11:00"},
		{"Australia/Lord_Howe", "22:00", "01:45", "2026-04-05 01:40:00+10:30", ""},
		{"Australia/Lord_Howe", "01:45", "06:00", "2026-04-05 01:35:00+10:30", "2026-04-05 06:00:00+10:30"},
		// A day less a minute, the longest that there is.
		{"Europe/Berlin", "08:00", "07:59", "2026-03-29 07:58:59+02:00", "2026-03-29 07:59:00+02:00"},
		{"Europe/Berlin", "08:00", "07:59", "2026-03-29 07:59:30+02:00", ""},
		{"Europe/Berlin", "08:00", "07:59", "2026-10-24 08:00:00+02:00", "2026-10-25 07:59:00+01:00"},
	} {
		p := berlin(test.from, test.to, DigestTimes{})
		p.TimeZone = test.zone
		end, quiet := p.QuietUntil(clock(t, test.at))
		if quiet != (test.until != "") || quiet && !end.Equal(clock(t, test.until)) {
			t.Errorf("%s, %s to %s, at %s: quiet is %v until %v", test.zone, test.from, test.to, test.at, quiet, end)
		}
	}
}

// TestQuietByTheMinute holds quiet hours, around the changes of clocks and on other
// days, to the wall clock as somebody reads it who looks each minute.
func TestQuietByTheMinute(t *testing.T) {
	changes := []struct{ zone, day string }{
		{"Europe/Berlin", "2026-03-29"}, {"Europe/Berlin", "2026-10-25"}, {"America/New_York", "2026-03-08"}, {"America/New_York", "2026-11-01"},
		{"Australia/Lord_Howe", "2026-04-05"}, {"Australia/Lord_Howe", "2026-10-04"}, {"America/Sao_Paulo", "2018-11-04"}, {"UTC", "2026-06-01"},
	}
	rapid.Check(t, func(t *rapid.T) {
		change := rapid.SampledFrom(changes).Draw(t, "change")
		loc, err := time.LoadLocation(change.zone)
		if err != nil {
			t.Fatal(err)
		}
		day, err := time.ParseInLocation(time.DateOnly, change.day, loc)
		if err != nil {
			t.Fatal(err)
		}
		at := func(name string) string {
			// Half of them within the hours in which clocks change.
			hour := rapid.OneOf(rapid.IntRange(0, 23), rapid.IntRange(0, 3)).Draw(t, name)
			return fmt.Sprintf("%02d:%02d", hour, rapid.IntRange(0, 59).Draw(t, name+" minute"))
		}
		from, to := at("from"), at("to")
		if from == to {
			return
		}
		p := berlin(from, to, DigestTimes{})
		p.TimeZone = change.zone

		// A time of day begins with the first minute that shows it or, where the
		// clock jumps over it, a later one.
		quiet := map[time.Time]bool{}
		var ends []time.Time
		is := false
		noon := day.Add(12 * time.Hour)
		begun, ended := map[string]bool{}, map[string]bool{}
		for m := noon.Add(-72 * time.Hour).Truncate(time.Minute); m.Before(noon.Add(72 * time.Hour)); m = m.Add(time.Minute) {
			local := m.In(loc)
			date, wall := local.Format(time.DateOnly), local.Format(clockForm)
			starts := wall >= from && !begun[date]
			stops := wall >= to && !ended[date]
			begun[date], ended[date] = begun[date] || starts, ended[date] || stops
			switch {
			case stops: // both at once in a gap: it is over before it begins, or never was
				is = starts && from > to
				ends = append(ends, m)
			case starts:
				is = true
			}
			quiet[m] = is
		}
		now := noon.Add(time.Duration(rapid.IntRange(-24*60, 24*60).Draw(t, "minute")) * time.Minute).Truncate(time.Minute)
		end, got := p.QuietUntil(now.Add(rapid.SampledFrom([]time.Duration{0, 59*time.Second + 999*time.Millisecond}).Draw(t, "within")))
		if got != quiet[now] {
			t.Fatalf("from %s to %s it is %v that %v is quiet", from, to, got, now.In(loc))
		}
		if !got {
			return
		}
		i := slices.IndexFunc(ends, func(e time.Time) bool { return e.After(now) })
		if !end.Equal(ends[i]) {
			t.Errorf("from %s to %s %v is quiet until %v, want %v", from, to, now.In(loc), end, ends[i].In(loc))
		}
	})
}

// Urgent messages pass quiet hours at any time, and silent ones do not know them;
// none of them passes what is off.
func TestUrgentPassesQuietHours(t *testing.T) {
	p := berlin("00:00", "23:59", DigestTimes{Daily, "08:00", "monday"})
	p.Categories = map[string]Choice{"offers": Off, "news": Digest}
	at := clock(t, "2026-10-25 02:30:00+01:00")
	for _, test := range []struct {
		m    message
		want Action
	}{
		{message{category: "welcome"}, Wait},
		{message{category: "welcome", urgent: true}, Deliver},
		{message{category: "welcome", silent: true}, Deliver},
		{message{category: "news"}, Gather},
		{message{category: "news", urgent: true}, Deliver},
		{message{category: "offers", urgent: true}, Refuse},
	} {
		if d := p.decide(test.m, at); d.Action != test.want {
			t.Errorf("%+v: %+v, want %v", test.m, d, test.want)
		}
	}
}

// Hours that are no hours are refused, so that from = to need not mean anything.
func TestQuietHoursThatAreRefused(t *testing.T) {
	for _, hours := range [][2]string{{"08:00", "08:00"}, {"00:00", "00:00"}, {"00:00", "24:00"}, {"8:00", "09:00"}, {"", "09:00"}, {"23:60", "01:00"}} {
		p := berlin(hours[0], hours[1], DigestTimes{})
		p.QuietHours = &QuietHours{From: hours[0], To: hours[1]}
		if err := p.normal(func(string) bool { return false }); job.CodeOf(err) != job.CodeInvalid {
			t.Errorf("from %q to %q: %v", hours[0], hours[1], err)
		}
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
