// Package tasks is the catalogue: the names of the job types, their payloads,
// the validation of those payloads and each type's defaults. It imports
// nothing of ours, so that another service can use it to build a job.
package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// MaxPayload is the most bytes that a job's payload may have as JSON.
const MaxPayload = 1 << 20

// MaxAttemptsLimit bounds Type.MaxAttempts.
const MaxAttemptsLimit = 1000

// Payload is what every job type's payload can do.
type Payload interface {
	// Validate brings the payload into its canonical form and checks all
	// that can be checked without asking anyone. Its error is, or wraps, an
	// Invalid that names each bad field.
	Validate() error
}

// Addressed is a Payload that is for somebody: jobs can be searched by it.
type Addressed interface {
	// Recipient is the normalised recipient: a mail address in lower case, or
	// the name of a notification's stream.
	Recipient() string
}

// Rehearsable is a Payload whose job can do all but what it is for.
type Rehearsable interface {
	// Rehearse makes this payload's job such a one.
	Rehearse()
}

// Described is a Payload that is about something: jobs can be searched by it.
type Described interface {
	Describe() Description
}

// Description is what a job is about, each part empty where it has none.
type Description struct {
	Subject  string
	Template string
	Category string
	// Sink is true of one that is to go nowhere, and so is never late.
	Sink bool
}

// Empty reports whether nothing is said.
func (d Description) Empty() bool { return d == Description{} }

// Ambiguity says what becomes of a job of which nobody can tell whether its
// last run had its effect.
type Ambiguity string

const (
	// Resend runs it again: at the worst the effect happens twice.
	Resend Ambiguity = "resend"
	// Hold keeps it for a person to decide.
	Hold Ambiguity = "hold"
)

// Type is one job type: a name, a payload and defaults.
type Type struct {
	// Name is two or more lower-case words joined by colons, or one:
	// "email:send".
	Name string
	// Queue is where jobs of this type go unless the request says otherwise.
	Queue string
	// Ephemeral types opt out of SQL: full speed, and lost with Redis.
	Ephemeral bool
	// Deadline bounds one attempt.
	Deadline time.Duration
	// MaxAttempts is how many attempts a job has before it is failed, at
	// least 1 and at most MaxAttemptsLimit.
	MaxAttempts int
	// Backoff spaces the attempts.
	Backoff Backoff
	// OnAmbiguous is Resend unless said otherwise.
	OnAmbiguous Ambiguity

	decode func([]byte) (Payload, error)
}

// Of is a Type that knows its payload's Go type, so that a handler can be
// bound to it without a cast.
type Of[T any] struct{ Type }

// Define completes t with the payload type T, whose pointer is the Payload,
// and fills in defaults: queue "default", 30 s, 10 attempts, DefaultBackoff,
// Resend.
func Define[T any, P interface {
	*T
	Payload
}](t Type) Of[T] {
	if t.Queue == "" {
		t.Queue = "default"
	}
	if t.Deadline == 0 {
		t.Deadline = 30 * time.Second
	}
	if t.MaxAttempts == 0 {
		t.MaxAttempts = 10
	}
	if t.Backoff == (Backoff{}) {
		t.Backoff = DefaultBackoff
	}
	if t.OnAmbiguous == "" {
		t.OnAmbiguous = Resend
	}
	t.decode = func(raw []byte) (Payload, error) {
		p := P(new(T))
		if !quick(raw, p) {
			p = P(new(T))
			if err := strict(raw, p); err != nil {
				return nil, err
			}
		}
		if err := p.Validate(); err != nil {
			return nil, err
		}
		return p, nil
	}
	return Of[T]{t}
}

// Decode reads a payload of this type and validates it. An error is an
// Invalid.
func (t Type) Decode(raw []byte) (Payload, error) { return t.decode(raw) }

// Decode is Type.Decode with the payload's own type.
func (t Of[T]) Decode(raw []byte) (*T, error) {
	p, err := t.decode(raw)
	if err != nil {
		return nil, err
	}
	return any(p).(*T), nil
}

// Canonical decodes and validates raw and returns the payload as it is
// stored, with the recipient it is for, if any. An error is an Invalid.
func (t Type) Canonical(raw []byte) (payload []byte, recipient string, err error) {
	p, err := t.decode(raw)
	if err != nil {
		return nil, "", err
	}
	return Encode(p)
}

// Encode writes a validated payload as it is stored, with the recipient it is
// for, if any. An error is an Invalid.
func Encode(p Payload) (payload []byte, recipient string, err error) {
	// Not json.Marshal, which writes each <, > and & in six bytes: HTML would
	// grow by half on its way through SQL.
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil, "", Invalid{{Field: "payload", Problem: "cannot be written as JSON: " + err.Error()}}
	}
	payload = bytes.TrimSuffix(buf.Bytes(), []byte("\n")) // Encode ends its line
	if len(payload) > MaxPayload {
		return nil, "", Invalid{{Field: "payload", Problem: fmt.Sprintf("is %d bytes long, the most is %d", len(payload), MaxPayload)}}
	}
	if a, ok := p.(Addressed); ok {
		recipient = a.Recipient()
	}
	return payload, recipient, nil
}

// Catalogue is a set of job types by name.
type Catalogue struct{ byName map[string]Type }

var (
	nameForm  = regexp.MustCompile(`^[a-z][a-z0-9_-]*(:[a-z][a-z0-9_-]*)*$`)
	queueForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
)

// ValidQueue reports whether name can name a queue: a lower-case letter and
// up to 63 letters, digits, hyphens and underscores.
func ValidQueue(name string) bool { return queueForm.MatchString(name) }

// NewCatalogue makes a catalogue of types and refuses a bad or doubled one.
func NewCatalogue(types ...Type) (*Catalogue, error) {
	c := &Catalogue{byName: make(map[string]Type, len(types))}
	for _, t := range types {
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("checking job type %q: %w", t.Name, err)
		}
		if _, twice := c.byName[t.Name]; twice {
			return nil, fmt.Errorf("checking job type %q: it is defined twice", t.Name)
		}
		c.byName[t.Name] = t
	}
	return c, nil
}

func (t Type) check() error {
	switch {
	case !nameForm.MatchString(t.Name) || len(t.Name) > 64:
		return errors.New("its name must be lower-case words joined by colons, 64 bytes at most")
	case t.decode == nil:
		return errors.New("it was not made by tasks.Define")
	case !ValidQueue(t.Queue):
		return fmt.Errorf("its queue %q is not a valid name", t.Queue)
	case t.Deadline < time.Second || t.Deadline > 24*time.Hour:
		return errors.New("its deadline must be from 1s to 24h")
	case t.MaxAttempts < 1 || t.MaxAttempts > MaxAttemptsLimit:
		return fmt.Errorf("its attempts must be from 1 to %d", MaxAttemptsLimit)
	case t.OnAmbiguous != Resend && t.OnAmbiguous != Hold:
		return fmt.Errorf("its ambiguity %q must be resend or hold", t.OnAmbiguous)
	}
	return t.Backoff.check()
}

// Lookup finds a type by name.
func (c *Catalogue) Lookup(name string) (Type, bool) {
	t, ok := c.byName[name]
	return t, ok
}

// Types lists the types by name.
func (c *Catalogue) Types() []Type {
	out := make([]Type, 0, len(c.byName))
	for _, t := range c.byName {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Type) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Builtin is the list of types that Postrider comes with. A type of your own
// is added here.
func Builtin() []Type {
	return []Type{
		EmailSend.Type,
		EmailReminder.Type,
		FeedbackReceive.Type,
		NotificationSend.Type,
		LogHeartbeat.Type,
		MaintenanceCleanup.Type,
		ChatArchive.Type,
		ScheduleTick.Type,
		Noop.Type,
		NoopEphemeral.Type,
	}
}
