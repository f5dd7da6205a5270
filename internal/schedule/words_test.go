package schedule_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/schedule"
)

func TestWords(t *testing.T) {
	for cron, want := range map[string]string{
		"* * * * *":        "every minute",
		"*/5 * * * *":      "every 5 minutes",
		"*/7 * * * *":      "", // 56 to 0 is 4 minutes
		"15 * * * *":       "each hour at minute 15",
		"@hourly":          "each hour at minute 0",
		"30 8 * * *":       "each day at 08:30",
		"@daily":           "each day at 00:00",
		"30 8 * * mon-fri": "mon to fri at 08:30",
		"0 3 * * 0":        "each sun at 03:00",
		"0 3 * * SAT":      "each sat at 03:00",
		"0 9 1 * *":        "on day 1 of each month at 09:00",
		"@monthly":         "on day 1 of each month at 00:00",
		"@weekly":          "each sun at 00:00",
		"@yearly":          "",
		"0 9 1 * mon":      "", // either of the two
		"0 9 1 1 *":        "",
		"0 9,17 * * *":     "",
		"0 9 * * 1,3":      "",
		"0 */2 * * *":      "",
		"@every 90s":       "every 1m30s",
		"@every 10s":       "every 10s",
		"@every 2h":        "every 2h",
		"@every 20m":       "every 20m",
		"@every nonsense":  "",
		"":                 "",
		"1 2 3":            "",
	} {
		if got := schedule.Words(cron); got != want {
			t.Errorf("%q is %q in words, want %q", cron, got, want)
		}
	}
}

func TestPreview(t *testing.T) {
	now := time.Date(2026, 3, 28, 12, 0, 10, 0, time.UTC)
	slots := func(cron, zone string, created time.Time) []string {
		t.Helper()
		got, err := schedule.Preview(cron, zone, created, now)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, at := range got {
			out = append(out, at.UTC().Format("02 15:04:05"))
		}
		return out
	}
	for _, c := range []struct {
		cron, zone string
		created    time.Time
		want       []string
	}{
		// The clock is put forward in the night to the 29th.
		{"30 8 * * *", "Europe/Berlin", time.Time{}, []string{"29 06:30:00", "30 06:30:00", "31 06:30:00", "01 06:30:00", "02 06:30:00"}},
		{" @hourly ", "", time.Time{}, []string{"28 13:00:00", "28 14:00:00", "28 15:00:00", "28 16:00:00", "28 17:00:00"}},
		{"@every 1h", "UTC", now.Add(-90 * time.Minute), []string{"28 12:30:10", "28 13:30:10", "28 14:30:10", "28 15:30:10", "28 16:30:10"}},
		{"@every 1h", "UTC", time.Time{}, []string{"28 13:00:10", "28 14:00:10", "28 15:00:10", "28 16:00:10", "28 17:00:10"}},
	} {
		got := slots(c.cron, c.zone, c.created)
		for i := range c.want {
			if len(got) != len(c.want) || got[i] != c.want[i] {
				t.Errorf("%s in %s comes %v, want %v", c.cron, c.zone, got, c.want)
				break
			}
		}
	}
	_, err := schedule.Preview("61 * * * *", "Europe/Bielefeld", time.Time{}, now)
	if bad := fieldsOf(err); len(bad) != 2 || bad["cron"] == "" || bad["time_zone"] == "" {
		t.Errorf("refused are %v", bad)
	}
}
