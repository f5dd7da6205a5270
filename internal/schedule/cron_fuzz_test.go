package schedule

import (
	"testing"
	"time"
)

// FuzzCron: an expression is refused, or has a next time for ever, each after
// the one before.
func FuzzCron(f *testing.F) {
	for _, s := range []string{
		"* * * * *", "0 8 * * *", "*/5 0-6 1,15 */2 mon-fri", "0 0 29 2 *", "0 0 31 4 *", "59 23 31 12 7", "@daily", "@every 90s", "@every 1h0m1s",
		"@every -1s", "@every 9999999h", "@reboot", "TZ=UTC * * * * *", "CRON_TZ=Europe/Berlin", "0 2 * * *", "30 2 * 3 0", "", "* * * *", "*/0 * * * *", "61 * * * *", "5-1 * * * *", "? ? ? ? ?",
	} {
		f.Add(s, "Europe/Berlin", int64(1_711_846_800))
		f.Add(s, "America/Sao_Paulo", int64(0))
	}
	f.Fuzz(func(t *testing.T, expr, zone string, at int64) {
		loc, err := location(zone)
		if err != nil {
			return
		}
		// From 1900 to 2200: nobody's clock shows more.
		now := time.Unix(at%(230*365*24*3600)-70*365*24*3600*(at&1), 0)
		c, err := parse(expr, loc, now.Add(-time.Hour))
		if err != nil {
			return
		}
		for range 3 {
			next := c.next(now)
			if !next.After(now) && !next.IsZero() {
				t.Fatalf("%q in %s: after %v comes %v", expr, zone, now, next)
			}
			if next.IsZero() {
				return // further away than is looked
			}
			now = next
		}
	})
}
