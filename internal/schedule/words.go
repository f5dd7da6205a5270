package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Words says a cron expression in English where that is short and leaves no
// doubt, "every 5 minutes", "mon to fri at 08:30"; it is empty elsewhere.
func Words(cron string) string {
	if text, ok := strings.CutPrefix(cron, "@every "); ok {
		d, err := time.ParseDuration(text)
		if err != nil {
			return ""
		}
		return "every " + strings.NewReplacer("m0s", "m", "h0m0s", "h").Replace(d.String())
	}
	if named, ok := descriptors[cron]; ok {
		cron = named
	}
	f := strings.Fields(cron)
	if len(f) != 5 || f[3] != "*" && f[3] != "?" {
		return ""
	}
	minute, hour := f[0], f[1]
	anyDay := f[2] == "*" || f[2] == "?"
	anyWeekday := f[4] == "*" || f[4] == "?"
	if anyDay && anyWeekday && hour == "*" {
		return withinHour(minute)
	}
	m, isMinute := number(minute, 59)
	h, isHour := number(hour, 23)
	if !isMinute || !isHour {
		return ""
	}
	at := fmt.Sprintf(" at %02d:%02d", h, m)
	switch {
	case anyDay && anyWeekday:
		return "each day" + at
	case anyDay:
		if days := weekdays(f[4]); days != "" {
			return days + at
		}
	case anyWeekday:
		if day, ok := number(f[2], 31); ok {
			return fmt.Sprintf("on day %d of each month", day) + at
		}
	}
	return ""
}

// descriptors are written out where their words would not be as short.
var descriptors = map[string]string{
	"@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// withinHour is the words of a minute field in each hour.
func withinHour(minute string) string {
	if minute == "*" {
		return "every minute"
	}
	if text, ok := strings.CutPrefix(minute, "*/"); ok {
		// A step that does not divide the hour is uneven at its end.
		if n, ok := number(text, 30); ok && n > 1 && 60%n == 0 {
			return fmt.Sprintf("every %d minutes", n)
		}
		return ""
	}
	if m, ok := number(minute, 59); ok {
		return fmt.Sprintf("each hour at minute %d", m)
	}
	return ""
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// weekdays is the words of a field of week days: one, or a stretch.
func weekdays(field string) string {
	first, last, stretch := strings.Cut(strings.ToLower(field), "-")
	from, ok := weekday(first)
	if !ok {
		return ""
	}
	if !stretch {
		return "each " + from
	}
	to, ok := weekday(last)
	if !ok {
		return ""
	}
	return from + " to " + to
}

func weekday(s string) (string, bool) {
	if n, ok := number(s, len(dayNames)-1); ok {
		return dayNames[n], true
	}
	for _, name := range dayNames {
		if s == name {
			return name, true
		}
	}
	return "", false
}

// number reads digits alone, up to most.
func number(s string, most int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err == nil && int(n) <= most
}
