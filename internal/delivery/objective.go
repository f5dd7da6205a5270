package delivery

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Objective says how soon mails of a category are to be out.
type Objective struct {
	Category string
	Share    float64       // of the mails, above 0 and below 1
	Within   time.Duration // from when they are due until a server has taken them
}

// String is the objective as it is set: "receipt=95%<5m".
func (o Objective) String() string {
	return fmt.Sprintf("%s=%s%%<%s", o.Category, strconv.FormatFloat(100*o.Share, 'f', -1, 64), shortly(o.Within))
}

// shortly is a duration without its empty units.
func shortly(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Config is the objectives.
type Config struct {
	Objectives Objectives `env:"POSTRIDER_OBJECTIVES" help:"how soon mails are to be out, by category: password-reset=99%<30s,receipt=95%<5m; see docs/deliveries.md"`
}

// Objectives are one a category.
type Objectives []Objective

const (
	maxObjectives = 20
	maxWithin     = 24 * time.Hour
)

var objectiveForm = regexp.MustCompile(`^([a-z0-9][a-z0-9_-]{0,63})=([0-9.]{1,8})%<([0-9a-z.]{2,20})$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (os *Objectives) UnmarshalText(text []byte) error {
	*os = nil
	for part := range strings.SplitSeq(string(text), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		m := objectiveForm.FindStringSubmatch(part)
		if m == nil {
			return fmt.Errorf("%q must read category=99%%<30s", part)
		}
		share, err := strconv.ParseFloat(m[2], 64)
		if err != nil || share <= 0 || share >= 100 {
			return fmt.Errorf("%q must have a share above 0%% and below 100%%", part)
		}
		within, err := time.ParseDuration(m[3])
		if err != nil || within < time.Second || within > maxWithin {
			return fmt.Errorf("%q must have a time from 1s to %s", part, maxWithin)
		}
		if slices.ContainsFunc(*os, func(o Objective) bool { return o.Category == m[1] }) {
			return fmt.Errorf("%q stands there twice", m[1])
		}
		*os = append(*os, Objective{Category: m[1], Share: share / 100, Within: within})
	}
	if len(*os) > maxObjectives {
		return fmt.Errorf("there are %d, the most is %d", len(*os), maxObjectives)
	}
	return nil
}

// Categories lists the objectives' categories.
func (os Objectives) Categories() []string {
	out := make([]string, len(os))
	for i, o := range os {
		out[i] = o.Category
	}
	return out
}

// Attained is how many mails were to be out, and how many were.
type Attained struct{ Total, Good int64 }

// Minutes is what objectives need of the database.
type Minutes interface {
	// CountMinutes writes for each whole minute since the last that was written,
	// over as long as back at most, how many mails of the category came to the
	// end of their objective's time in it, and how many of them were out by then.
	// Mails that were cancelled or suppressed, or that a server refused for good,
	// are in neither. To count a minute again changes nothing.
	CountMinutes(ctx context.Context, o Objective, back time.Duration) error
	// AttainedSince sums up the minutes of a category that began at most so long
	// ago.
	AttainedSince(ctx context.Context, category string, back time.Duration) (Attained, error)
}

// Burn is how an objective fared lately.
type Burn struct {
	Objective
	Windows []Window
}

// Window is how it fared over some time.
type Window struct {
	Over time.Duration
	Attained
	// Rate is how fast the mails that may be late are used up: at 1 just so
	// many are late as the objective allows, at 10 ten times as many.
	Rate float64
}

// windows are what burn rates are told of: a fast burn shows in the first and
// must show in the second to count, a slow one in the third.
var windows = []time.Duration{5 * time.Minute, time.Hour, 6 * time.Hour}

// countEvery is how often minutes are counted, and how long a Burn is good for.
const countEvery = 20 * time.Second

// burnCache keeps what Burns found.
type burnCache struct {
	mu sync.Mutex
	at time.Time
	of []Burn
}

// Burns says how the objectives fare. What it found is good for some seconds.
func (s *Service) Burns(ctx context.Context) ([]Burn, error) {
	s.burns.mu.Lock()
	defer s.burns.mu.Unlock()
	if !s.burns.at.IsZero() && time.Since(s.burns.at) < countEvery {
		return s.burns.of, nil
	}
	out, err := s.lookAtBurns(ctx)
	if err != nil {
		return nil, err
	}
	s.burns.at, s.burns.of = time.Now(), out
	return out, nil
}

func (s *Service) lookAtBurns(ctx context.Context) ([]Burn, error) {
	out := make([]Burn, len(s.Objectives))
	for i, o := range s.Objectives {
		out[i].Objective = o
		for _, over := range windows {
			got, err := s.Store.AttainedSince(ctx, o.Category, over)
			if err != nil {
				return nil, err
			}
			out[i].Windows = append(out[i].Windows, Window{Over: over, Attained: got, Rate: o.burn(got)})
		}
	}
	return out, nil
}

func (o Objective) burn(a Attained) float64 {
	if a.Total == 0 {
		return 0
	}
	return float64(a.Total-a.Good) / float64(a.Total) / (1 - o.Share)
}
