package schedule

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const testForm = "2006-01-02 15:04:05 MST"

func mustParse(t interface{ Fatalf(string, ...any) }, expr, zone string, anchor time.Time) clock {
	loc, err := location(zone)
	if err != nil {
		t.Fatalf("%s: %v", zone, err)
	}
	c, err := parse(expr, loc, anchor)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return c
}

// TestNext goes through the changes of several clocks: Berlin's by an hour at
// 01:00 UTC, New York's by its own 02:00, Lord Howe's by half an hour, São
// Paulo's at midnight (in 2018), and Apia's leap over a whole day (in 2011).
func TestNext(t *testing.T) {
	for _, test := range []struct {
		name, expr, zone, after string
		want                    []string
	}{
		{"plain", "30 8 * * mon-fri", "UTC", "2026-07-03T08:00:00Z", []string{"2026-07-03 08:30:00 UTC", "2026-07-06 08:30:00 UTC"}},
		{"not the slot itself", "0 8 * * *", "UTC", "2026-07-03T08:00:00Z", []string{"2026-07-04 08:00:00 UTC"}},
		{"a moment before it", "0 8 * * *", "UTC", "2026-07-03T07:59:59.999Z", []string{"2026-07-03 08:00:00 UTC"}},
		{"descriptor", "@daily", "Asia/Kolkata", "2026-07-03T08:00:00Z", []string{"2026-07-04 00:00:00 IST"}},
		{"leap day", "0 0 29 2 *", "UTC", "2026-07-03T08:00:00Z", []string{"2028-02-29 00:00:00 UTC", "2032-02-29 00:00:00 UTC"}},

		// Go's ZoneBounds ends a stretch before it begins on the last day of a leap
		// year, once the zone's table gives way to its rule.
		{"leap day, past the table", "0 0 29 2 *", "Europe/Berlin", "2040-03-01T08:00:00Z", []string{"2044-02-29 00:00:00 CET", "2048-02-29 00:00:00 CET"}},
		{"new year, past the table", "0 12 * * *", "America/New_York", "2040-12-30T18:00:00Z",
			[]string{"2040-12-31 12:00:00 EST", "2041-01-01 12:00:00 EST"}},

		{"in the gap", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z",
			[]string{"2026-03-28 02:30:00 CET", "2026-03-29 03:00:00 CEST", "2026-03-30 02:30:00 CEST"}},
		{"the gap's beginning", "0 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29 03:00:00 CEST", "2026-03-30 02:00:00 CEST"}},
		{"the gap's end, once", "0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29 03:00:00 CEST", "2026-03-30 02:00:00 CEST", "2026-03-30 03:00:00 CEST"}},
		{"many in the gap, once", "*/10 1-2 * * *", "Europe/Berlin", "2026-03-29T00:45:00Z",
			[]string{"2026-03-29 01:50:00 CET", "2026-03-29 03:00:00 CEST", "2026-03-30 01:00:00 CEST"}},
		{"past the gap", "30 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29 03:30:00 CEST", "2026-03-30 03:30:00 CEST"}},
		{"each minute in spring", "* * * * *", "Europe/Berlin", "2026-03-29T00:58:00Z",
			[]string{"2026-03-29 01:59:00 CET", "2026-03-29 03:00:00 CEST", "2026-03-29 03:01:00 CEST"}},
		{"each hour in spring", "30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29 01:30:00 CET", "2026-03-29 03:30:00 CEST"}},

		{"twice on the clock", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25 02:30:00 CEST", "2026-10-26 02:30:00 CET"}},
		{"asked between the two", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26 02:30:00 CET"}},
		{"the hour before and after", "0 1-3 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z",
			[]string{"2026-10-25 01:00:00 CEST", "2026-10-25 02:00:00 CEST", "2026-10-25 03:00:00 CET"}},
		{"each half hour in autumn", "*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z",
			[]string{"2026-10-25 02:30:00 CEST", "2026-10-25 02:00:00 CET", "2026-10-25 02:30:00 CET", "2026-10-25 03:00:00 CET"}},

		{"New York's gap", "15 2 * * sun", "America/New_York", "2026-03-07T12:00:00Z",
			[]string{"2026-03-08 03:00:00 EDT", "2026-03-15 02:15:00 EDT"}},
		{"New York's hour", "15 1 * * sun", "America/New_York", "2026-10-31T12:00:00Z",
			[]string{"2026-11-01 01:15:00 EDT", "2026-11-08 01:15:00 EST"}},
		{"half an hour's gap", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z",
			[]string{"2026-10-04 02:30:00 +11", "2026-10-05 02:15:00 +11"}},
		{"half an hour twice", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z",
			[]string{"2026-04-05 01:45:00 +11", "2026-04-06 01:45:00 +1030"}},
		{"a midnight that is none", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z",
			[]string{"2018-11-04 01:00:00 -02", "2018-11-05 00:00:00 -02"}},
		{"a day that is none", "0 12 30 12 *", "Pacific/Apia", "2011-12-28T12:00:00Z",
			[]string{"2011-12-31 00:00:00 +14", "2012-12-30 12:00:00 +14"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustParse(t, test.expr, test.zone, time.Time{})
			at, err := time.Parse(time.RFC3339, test.after)
			if err != nil {
				t.Fatal(err)
			}
			loc, _ := location(test.zone)
			for i, want := range test.want {
				at = c.next(at)
				if got := at.In(loc).Format(testForm); got != want {
					t.Fatalf("slot %d is %s, want %s", i+1, got, want)
				}
			}
		})
	}
}

func TestEvery(t *testing.T) {
	anchor := time.Date(2026, 7, 1, 12, 0, 0, 250e6, time.UTC)
	c := mustParse(t, "@every 90s", "Europe/Berlin", anchor)
	for _, test := range []struct{ after, want time.Duration }{
		{-time.Hour, 90 * time.Second}, {0, 90 * time.Second}, {89 * time.Second, 90 * time.Second},
		{90 * time.Second, 180 * time.Second}, {24 * time.Hour, 24*time.Hour + 90*time.Second},
	} {
		if got := c.next(anchor.Add(test.after)).Sub(anchor); got != test.want {
			t.Errorf("after %s the next slot is %s from the beginning, want %s", test.after, got, test.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for expr, want := range map[string]string{
		"":                       "not a cron expression",
		"* * * *":                "5 fields",
		"0 * * * * *":            "5 fields",
		"60 * * * *":             "above maximum",
		"* * * * * ":             "",
		"0 8 * * funday":         "not a cron expression",
		"@reboot":                "not a cron expression",
		"@every":                 "not a cron expression",
		"@every soon":            "a duration",
		"@every 500ms":           "whole seconds",
		"@every 1500ms":          "whole seconds",
		"@every -5s":             "whole seconds",
		"@every 43801h":          "whole seconds", // what comes to more than 292 years has no sum
		"CRON_TZ=UTC 0 8 * * *":  "a field of its own",
		"TZ=UTC":                 "a field of its own",
		"0 0 30 2 *":             "never comes",
		"0 0 31 4,6,9,11 *":      "never comes",
		"\x00 * * * *":           "not a cron expression",
		strings.Repeat("*", 500): "not a cron expression",
	} {
		_, err := parse(expr, time.UTC, time.Time{})
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", expr, err, want)
		}
	}
	for _, zone := range []string{"Local", "Mars/Base", "../etc/passwd", "Europe/Berlin\x00", "europe"} {
		if _, err := location(zone); err == nil {
			t.Errorf("the time zone %q was taken", zone)
		}
	}
}

// TestNextAnywhere holds for any schedule, place and time: slots rise, none lies
// between two that follow each other, and on the wall clock none comes twice but
// for schedules of every hour.
func TestNextAnywhere(t *testing.T) {
	exprs := []string{"* * * * *", "*/7 2 * * *", "30 1-3 * * *", "0 0 * * *", "0 */3 * * *", "15,45 * * * sun", "0 2 1 * *"}
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu"}
	begin := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		expr, zone := rapid.SampledFrom(exprs).Draw(t, "expr"), rapid.SampledFrom(zones).Draw(t, "zone")
		c := mustParse(t, expr, zone, begin)
		loc, _ := location(zone)
		at := begin.Add(time.Duration(rapid.Int64Range(0, 20*365*24*3600).Draw(t, "second")) * time.Second)
		faces := map[string]bool{}
		for range 50 {
			next := c.next(at)
			if !next.After(at) {
				t.Fatalf("%v follows %v", next, at)
			}
			middle := at.Add(next.Sub(at) / 2)
			if got := c.next(middle); !got.Equal(next) {
				t.Fatalf("after %v comes %v, but after %v comes %v", at, next, middle, got)
			}
			face := next.In(loc).Format(time.DateTime)
			if faces[face] && !c.(wall).hourly() {
				t.Fatalf("%s comes twice", face)
			}
			faces[face] = true
			at = next
		}
	})
}
