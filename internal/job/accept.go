package job

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

// Bounds of what is accepted.
const (
	MaxBatch          = 10_000               // jobs in a request
	MaxDelay          = 366 * 24 * time.Hour // between acceptance and run
	MaxIdempotencyKey = 255                  // bytes
	KeepIdempotency   = 24 * time.Hour
)

// Submission is one job as it is asked for.
type Submission struct {
	Type      string
	Payload   []byte // JSON; its bad fields are named "payload.to[1]"
	Queue     string // the type's own when empty
	Delay     time.Duration
	RunAt     time.Time // absolute form of Delay; at most one of them
	ExpiresAt time.Time
	// Err refuses this submission before it is looked at: a caller that found
	// it bad keeps its place in the batch so.
	Err error
}

// Caller is who asks.
type Caller struct {
	Name string // of the API key or user; jobs and idempotency keys are theirs
	// IdempotencyKey is empty for none; BodyHash is then not looked at.
	IdempotencyKey string
	BodyHash       []byte
}

// Acceptance answers a submission: the job's first state, or why it was
// refused.
type Acceptance struct {
	ID     ID
	Type   string
	Queue  string
	Status string // queued, scheduled or suppressed
	RunAt  time.Time
	Reason string // why it is suppressed, or put off
	Err    error
}

// Accepted answers a request.
type Accepted struct {
	Base     ID // the request's name; the batch id where it has several jobs
	At       time.Time
	Replayed bool // an idempotency key was met again: this is the first answer
	Jobs     []Acceptance
}

// Accept takes one job durably.
func (s *Service) Accept(ctx context.Context, who Caller, sub Submission) (Accepted, error) {
	return s.accept(ctx, who, []Submission{sub}, false, true)
}

// AcceptAll takes several jobs durably, all or none. A job of an ephemeral type
// is refused among others, since SQL cannot take it back from Redis.
func (s *Service) AcceptAll(ctx context.Context, who Caller, subs []Submission) (Accepted, error) {
	return s.accept(ctx, who, subs, true, true)
}

// AcceptEach takes each of several jobs on its own: a refused one has Err set
// in its place. Where every one is refused nothing is written, the idempotency
// key neither: the request is judged anew when it is repeated.
func (s *Service) AcceptEach(ctx context.Context, who Caller, subs []Submission) (Accepted, error) {
	return s.accept(ctx, who, subs, true, false)
}

func (s *Service) accept(ctx context.Context, who Caller, subs []Submission, batch, together bool) (out Accepted, err error) {
	ctx, span := s.tracer.Begin(ctx, "accept")
	defer func() {
		if span.Recorded() {
			span.Set("postrider.request", string(out.Base))
			span.SetInt("postrider.jobs", len(subs))
			if err != nil {
				span.Fail(string(CodeOf(err)))
			}
		}
		span.End()
	}()
	return s.acceptTraced(ctx, who, subs, batch, together)
}

func (s *Service) acceptTraced(ctx context.Context, who Caller, subs []Submission, batch, together bool) (Accepted, error) {
	if err := checkRequest(who, subs); err != nil {
		return Accepted{}, err
	}
	now := time.Now()
	base, trace := NewID(), telemetry.Traceparent(ctx)
	req := Request{Base: base}
	if who.IdempotencyKey != "" {
		req.Key = IdempotencyKey{Owner: who.Name, Key: who.IdempotencyKey, Hash: who.BodyHash, Keep: KeepIdempotency}
		// Before the request is judged: what was accepted then may not be now.
		if out, met, err := s.replay(ctx, req.Key, subs, batch); met || err != nil {
			return out, err
		}
	}
	news := make([]New, len(subs))
	candidates := make([]Candidate, len(subs))
	for i, sub := range subs {
		c := &candidates[i]
		c.New = &news[i]
		s.build(c, sub, who, now)
		news[i].ID, news[i].Trace = memberID(base, i, batch), trace
		if c.Err == nil && together && len(subs) > 1 && s.ephemeral(sub.Type) {
			c.Err = Invalid(tasks.Invalid{{Field: "type", Problem: "is ephemeral, and cannot be accepted all or none with other jobs"}})
		}
		if c.Err != nil && together {
			return Accepted{}, c.Err
		}
	}
	if err := s.admit(ctx, candidates); err != nil {
		return Accepted{}, err
	}
	errs := make([]error, len(subs))
	for i := range candidates {
		if errs[i] = candidates[i].Err; errs[i] != nil && together {
			return Accepted{}, errs[i]
		}
	}

	var ephemeral []int
	for i := range news {
		if batch {
			news[i].Batch = base
		}
		switch {
		case errs[i] != nil:
		case s.ephemeral(news[i].Type):
			ephemeral = append(ephemeral, i)
		default:
			req.Jobs = append(req.Jobs, news[i])
		}
	}

	receipt := Receipt{Base: base, At: now}
	if len(req.Jobs) > 0 {
		var err error
		if receipt, err = s.store.Accept(ctx, req); err != nil {
			return Accepted{}, err
		}
	}
	if receipt.Replayed { // by one that overtook it
		out, met, err := s.replay(ctx, req.Key, subs, batch)
		if err == nil && !met { // its time ended at this moment
			err = Errorf(CodeTemporary, "the Idempotency-Key has just ended: ask again")
		}
		return out, err
	}
	out := Accepted{Base: base, At: receipt.At, Jobs: make([]Acceptance, len(subs))}
	for i := range news {
		out.Jobs[i] = answer(news[i], receipt.At, errs[i])
	}
	s.dispatchAccepted(ctx, news, errs, ephemeral, &out)
	if together && len(ephemeral) > 0 && out.Jobs[ephemeral[0]].Err != nil {
		return Accepted{}, out.Jobs[ephemeral[0]].Err
	}
	return out, nil
}

// dispatchAccepted hands the durable jobs to the outbox and sends the
// ephemeral ones before the answer, since Redis is all that they have.
func (s *Service) dispatchAccepted(ctx context.Context, news []New, errs []error, ephemeral []int, out *Accepted) {
	durable := make([]Task, 0, len(news))
	var direct []Task
	for i, n := range news {
		if errs[i] != nil {
			continue
		}
		t := Task{ID: n.ID, Dispatch: 1, Type: n.Type, Queue: n.Queue, RunAt: n.Due(out.At)}
		if s.ephemeral(n.Type) {
			t.Dispatch, t.Payload, t.Trace = 0, n.Payload, n.Trace
			direct = append(direct, t)
			continue
		}
		if n.State != Suppressed {
			durable = append(durable, t)
		}
		s.count.accepted.WithLabelValues(n.Type, n.Queue).Inc()
	}
	s.out.put(durable)
	if len(direct) == 0 {
		return
	}
	arrived, err := s.disp.Dispatch(ctx, direct)
	for _, t := range arrived {
		s.count.accepted.WithLabelValues(t.Type, t.Queue).Inc()
	}
	if len(arrived) == len(direct) {
		return
	}
	there := make(map[ID]bool, len(arrived))
	for _, t := range arrived {
		there[t.ID] = true
	}
	for _, i := range ephemeral {
		if !there[news[i].ID] {
			out.Jobs[i].Err = Wrap(CodeTemporary, err, "the queue cannot be reached, and this job type lives there alone")
		}
	}
}

func (s *Service) ephemeral(name string) bool {
	t, _ := s.types.Lookup(name)
	return t.Ephemeral
}

// memberID is the id of a request's i-th job. Refused ones count too, so that
// a replayed request finds the same ids.
func memberID(base ID, i int, batch bool) ID {
	if !batch {
		return base
	}
	return base.Plus(i + 1)
}

func answer(n New, at time.Time, err error) Acceptance {
	if err != nil {
		return Acceptance{Type: n.Type, Err: err}
	}
	a := Acceptance{ID: n.ID, Type: n.Type, Queue: n.Queue, RunAt: n.Due(at), Status: "queued", Reason: n.Message}
	switch {
	case n.State == Suppressed:
		a.Status = string(Suppressed)
	case a.RunAt.After(at):
		a.Status = "scheduled"
	}
	return a
}

func checkRequest(who Caller, subs []Submission) error {
	var bad tasks.Invalid
	if len(subs) == 0 {
		bad.Add("jobs", "must not be empty")
	}
	if len(subs) > MaxBatch {
		bad.Add("jobs", fmt.Sprintf("has %d entries, the most is %d", len(subs), MaxBatch))
	}
	if k := who.IdempotencyKey; len(k) > MaxIdempotencyKey || strings.ContainsFunc(k, func(r rune) bool { return r < ' ' || r > '~' }) {
		bad.Add("Idempotency-Key", fmt.Sprintf("must be at most %d printable ASCII characters", MaxIdempotencyKey))
	}
	if err := bad.OrNil(); err != nil {
		return Invalid(err)
	}
	return nil
}

// build validates a submission and makes of it the job to be, but for its id
// and what admission has a say in.
func (s *Service) build(c *Candidate, sub Submission, who Caller, now time.Time) {
	n := c.New
	*n = New{Type: sub.Type, AcceptedBy: who.Name, Delay: sub.Delay, RunAt: sub.RunAt, ExpiresAt: sub.ExpiresAt}
	if c.Err = sub.Err; c.Err != nil {
		return
	}
	typ, ok := s.types.Lookup(sub.Type)
	if !ok {
		c.Err = Invalid(tasks.Invalid{{Field: "type", Problem: "is not a job type of the catalogue"}})
		return
	}
	var bad tasks.Invalid
	n.Queue, n.MaxAttempts, n.OnAmbiguous = typ.Queue, typ.MaxAttempts, typ.OnAmbiguous
	if sub.Queue != "" {
		n.Queue = sub.Queue
	}
	if !slices.Contains(s.queues, n.Queue) {
		bad.Add("queue", fmt.Sprintf("must be one of %s", strings.Join(s.queues, ", ")))
	}
	if typ.Ephemeral && who.IdempotencyKey != "" {
		bad.Add("Idempotency-Key", "cannot be kept for an ephemeral job type")
	}
	if typ.Ephemeral && !sub.ExpiresAt.IsZero() {
		bad.Add("expires_at", "cannot be kept for an ephemeral job type")
	}
	checkTimes(&bad, sub, now)
	var err error
	if c.Payload, err = typ.Decode(sub.Payload); err != nil {
		bad = append(bad, belowPayload(Invalid(err).Fields)...)
	}
	if err := bad.OrNil(); err != nil {
		c.Err = Invalid(err)
	}
}

// belowPayload names a payload's fields as parts of the submission, whose own
// fields may have the same names.
func belowPayload(fields tasks.Invalid) tasks.Invalid {
	out := slices.Clone(fields) // whoever found them may have meant several jobs
	for i, f := range out {
		if f.Field != "payload" { // the whole of it
			out[i].Field = "payload." + f.Field
		}
	}
	return out
}

func checkTimes(bad *tasks.Invalid, sub Submission, now time.Time) {
	if sub.Delay < 0 || sub.Delay > MaxDelay {
		bad.Add("delay", fmt.Sprintf("must be from 0 to %d milliseconds", MaxDelay.Milliseconds()))
		return
	}
	if sub.Delay > 0 && !sub.RunAt.IsZero() {
		bad.Add("delay", "and an absolute time exclude each other")
	}
	if sub.RunAt.After(now.Add(MaxDelay)) {
		bad.Add("run_at", "must not be more than 366 days ahead")
	}
	if e := sub.ExpiresAt; !e.IsZero() && !e.After((New{Delay: sub.Delay, RunAt: sub.RunAt}).Due(now)) {
		bad.Add("expires_at", "must be after the time at which the job is to run, and in the future")
	}
}
