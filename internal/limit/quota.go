package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Quota is so much in an hour or a day of UTC: what is left of it at the end is
// not kept for the next, and the next begins full.
type Quota struct {
	N   int           // 1 to 1,000,000,000
	Per time.Duration // an hour or a day
}

// Quotas are those of API keys, by their names; "*" are those of each key that
// has none of its own.
type Quotas map[string][]Quota

// anyKey is the name of those without quotas of their own.
const anyKey = "*"

var quotaUnits = map[string]time.Duration{"h": time.Hour, "d": 24 * time.Hour}

// UnmarshalText parses shop=10000/d,shop=1000/h,*=100000/d.
func (q *Quotas) UnmarshalText(text []byte) error {
	out := Quotas{}
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue // a comma at the end
		}
		name, amount, found := strings.Cut(entry, "=")
		count, unit, divided := strings.Cut(amount, "/")
		n, err := strconv.Atoi(count)
		per := quotaUnits[unit]
		if !found || !divided || name == "" || err != nil || per == 0 || n < 1 || n > maxRate {
			return fmt.Errorf("%q is not a quota such as shop=10000/d or *=1000/h, of 1 to %d", entry, maxRate)
		}
		if slices.ContainsFunc(out[name], func(other Quota) bool { return other.Per == per }) {
			return fmt.Errorf("%q: there is one of %s for that period already", entry, name)
		}
		out[name] = append(out[name], Quota{n, per})
	}
	*q = out
	return nil
}

// Of are the quotas of a key.
func (q Quotas) Of(key string) []Quota {
	if own, is := q[key]; is {
		return own
	}
	return q[anyKey]
}

// Names lists the keys that are named.
func (q Quotas) Names() (out []string) {
	for name := range q {
		if name != anyKey {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// String is the quota in words.
func (q Quota) String() string {
	if q.Per == time.Hour {
		return strconv.Itoa(q.N) + " an hour"
	}
	return strconv.Itoa(q.N) + " a day"
}

// Usage is what is left of a quota.
type Usage struct {
	Quota
	Left  int
	Reset time.Duration // until the next hour or day begins
}

// quotaScript counts in all windows, or in none where one would be passed. What
// is given back has a negative count, and goes down to none.
//
// KEYS the windows' counts, all of one API key
// ARGV[1] how much
// ARGV[2], [4], … the most in a window, and
// ARGV[3], [5], … in how many milliseconds it ends
// Returns the index of the window that is full, or 0, and then each count.
var quotaScript = redis.NewScript(`
local n, full, out = tonumber(ARGV[1]), 0, {}
for i, key in ipairs(KEYS) do
	local used = tonumber(redis.call("GET", key) or "0")
	out[i + 1] = used
	if n > 0 and used + n > tonumber(ARGV[2 * i]) and full == 0 then
		full = i
	end
end
out[1] = full
if full == 0 then
	for i, key in ipairs(KEYS) do
		out[i + 1] = math.max(out[i + 1] + n, 0)
		redis.call("SET", key, out[i + 1], "PX", ARGV[2 * i + 1])
	end
end
return out
`)

// Spend takes n from all of a key's quotas, or from none where one has not as
// much left: that one is full then. A negative n is given back. While Redis does
// not answer within 100 ms all is allowed and nothing is counted, and nothing is
// told of what is left.
//
// It errs only when ctx itself ends.
func (l *Limiter) Spend(ctx context.Context, key string, quotas []Quota, n int) (left []Usage, full *Usage, err error) {
	if len(quotas) == 0 || n == 0 || !l.gate.Open() {
		return nil, nil, nil
	}
	now := l.now()
	keys, args := make([]string, len(quotas)), []any{n}
	left = make([]Usage, len(quotas))
	for i, q := range quotas {
		begin := now.UTC().Truncate(q.Per)
		left[i] = Usage{Quota: q, Reset: begin.Add(q.Per).Sub(now)}
		keys[i] = fmt.Sprintf("%squota:{%s}:%d:%d", keyPrefix, key, int(q.Per.Seconds()), begin.Unix())
		args = append(args, q.N, max(left[i].Reset.Milliseconds(), 1))
	}
	bounded, cancel := context.WithTimeout(ctx, l.answerLimit)
	defer cancel()
	got, err := quotaScript.Run(bounded, l.rdb, keys, args...).Int64Slice()
	if err == nil && len(got) != len(quotas)+1 {
		err = errors.New("the script did not answer for each quota")
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("asking for the quota: %w", context.Cause(ctx))
		}
		l.failed(err)
		l.spent.WithLabelValues("unchecked").Add(float64(max(n, 0)))
		return nil, nil, nil
	}
	l.answered()
	for i := range left {
		left[i].Left = max(left[i].N-int(got[i+1]), 0)
	}
	if got[0] > 0 {
		l.spent.WithLabelValues("refused").Add(float64(n))
		return left, &left[got[0]-1], nil
	}
	if n > 0 {
		l.spent.WithLabelValues("taken").Add(float64(n))
	} else {
		l.spent.WithLabelValues("returned").Add(float64(-n))
	}
	return left, nil, nil
}
