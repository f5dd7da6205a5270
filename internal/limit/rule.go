package limit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what a limit on jobs is about.
type Kind string

// The kinds of limits.
const (
	Queue    Kind = "queue"    // a queue's jobs
	Domain   Kind = "domain"   // mails to a recipient's domain
	Provider Kind = "provider" // mails through a server of SMTP_URL
)

// Key names a limit: queue:bulk, domain:gmail.com, provider:main.
type Key struct {
	Kind Kind
	Name string
}

// OfQueue is the key of a queue's limits.
func OfQueue(name string) Key { return Key{Queue, name} }

// OfRecipient is the key of the limit on mails to the address's domain.
func OfRecipient(address string) Key {
	return Key{Domain, strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])}
}

// OfProvider is the key of the limit on mails through the provider of that name
// in SMTP_URL, in which case does not matter.
func OfProvider(name string) Key { return Key{Provider, strings.ToLower(name)} }

func (k Key) String() string { return string(k.Kind) + ":" + k.Name }

// Rule is what is allowed to the jobs of one key over all workers.
type Rule struct {
	Rate        Rate // that may begin in a period
	Concurrency int  // that may run at a time; 0 for any number
}

const (
	maxJobRate     = 100_000 // a second: one entry each is kept in Redis
	maxConcurrency = 100_000
)

// Rules are the limits on jobs, in the form
// queue:bulk=100/s,queue:bulk.concurrency=20,domain:gmail.com=600/m,provider:main=50/s .
type Rules map[Key]Rule

// UnmarshalText reads Rules.
func (r *Rules) UnmarshalText(text []byte) error {
	out := Rules{}
	if strings.TrimSpace(string(text)) == "" {
		*r = out
		return nil
	}
	for entry := range strings.SplitSeq(string(text), ",") {
		if err := out.add(strings.TrimSpace(entry)); err != nil {
			return fmt.Errorf("%q: %w", entry, err)
		}
	}
	*r = out
	return nil
}

var errForm = errors.New("want a limit such as queue:bulk=100/s, queue:bulk.concurrency=20, domain:gmail.com=600/m or provider:main=50/s")

func (r Rules) add(entry string) error {
	name, value, ok := strings.Cut(entry, "=")
	kind, name, named := strings.Cut(name, ":")
	if !ok || !named {
		return errForm
	}
	k := Key{Kind(kind), strings.ToLower(name)}
	k.Name, ok = strings.CutSuffix(k.Name, ".concurrency")
	concurrency := ok && k.Kind == Queue
	if ok && !concurrency {
		return errForm
	}
	if !slices.Contains([]Kind{Queue, Domain, Provider}, k.Kind) || k.Name == "" || strings.ContainsAny(k.Name, " {}@") {
		return errForm
	}
	rule, there := r[k]
	if concurrency {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxConcurrency {
			return fmt.Errorf("the concurrency must be a whole number from 1 to %d", maxConcurrency)
		}
		if there && rule.Concurrency != 0 {
			return errors.New("it is limited twice")
		}
		rule.Concurrency = n
	} else {
		if there && !rule.Rate.Off() {
			return errors.New("it is limited twice")
		}
		if err := rule.Rate.UnmarshalText([]byte(value)); err != nil {
			return err
		}
		if rule.Rate.Off() || rule.Rate.perSecond() > maxJobRate {
			return fmt.Errorf("the rate must be from 1/h to %d/s", maxJobRate)
		}
	}
	r[k] = rule
	return nil
}

// String returns the form that UnmarshalText takes.
func (r Rules) String() string {
	var out []string
	for k, rule := range r {
		if !rule.Rate.Off() {
			out = append(out, k.String()+"="+rule.Rate.String())
		}
		if rule.Concurrency > 0 {
			out = append(out, k.String()+".concurrency="+strconv.Itoa(rule.Concurrency))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// Names lists what is limited of a kind.
func (r Rules) Names(kind Kind) []string {
	var out []string
	for k := range maps.Keys(r) {
		if k.Kind == kind {
			out = append(out, k.Name)
		}
	}
	slices.Sort(out)
	return out
}

// perSecond rounds down.
func (r Rate) perSecond() int { return int(int64(r.N) * int64(time.Second) / int64(r.Per)) }

// pace is a rate as it is kept: so many starts in any window of time. The
// window is about a second, or one start's share of the period if that is
// longer, so that 6000/m is not 6,000 at once.
type pace struct {
	starts int
	window time.Duration
}

func (r Rate) pace() pace {
	n := max(r.perSecond(), 1)
	return pace{starts: n, window: r.Per / time.Duration(r.N/n)}
}
