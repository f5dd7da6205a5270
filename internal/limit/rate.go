package limit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is so many events a period. The zero Rate is off: no limit.
type Rate struct {
	N   int           // events, 1 to 1,000,000,000
	Per time.Duration // a second, a minute or an hour
}

// Off reports whether there is no limit.
func (r Rate) Off() bool { return r.N == 0 }

// maxRate keeps the script's arithmetic on floating-point numbers exact enough.
const maxRate = 1_000_000_000

// UnmarshalText parses 10/s, 600/m, 5000/h or off.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*r = Rate{}
		return nil
	}
	count, unit, ok := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(count)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if !ok || err != nil || per == 0 {
		return fmt.Errorf("%q is not a rate such as 10/s, 600/m, 5000/h or off", text)
	}
	if n < 1 || n > maxRate {
		return fmt.Errorf("%q is out of range: want 1 to %d a period, or off", text, maxRate)
	}
	*r = Rate{N: n, Per: per}
	return nil
}

// String returns the form that UnmarshalText takes.
func (r Rate) String() string {
	switch {
	case r.Off():
		return "off"
	case r.Per == time.Second:
		return strconv.Itoa(r.N) + "/s"
	case r.Per == time.Hour:
		return strconv.Itoa(r.N) + "/h"
	default:
		return strconv.Itoa(r.N) + "/m"
	}
}
