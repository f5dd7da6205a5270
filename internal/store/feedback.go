package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
)

// Feedback is the side of a Store that knows what became of mails.
type Feedback struct{ s *Store }

var _ mail.FeedbackLog = Feedback{}

// Feedback is the mail.FeedbackLog over the same database.
func (s *Store) Feedback() Feedback { return Feedback{s} }

// feedbackKinds are the events of jobs that feedback makes.
var feedbackKinds = map[mail.FeedbackKind]job.EventKind{
	mail.Delivered: job.EventDelivered, mail.Bounced: job.EventBounced, mail.Complained: job.EventComplained,
}

// Record implements mail.FeedbackLog.
func (v Feedback) Record(ctx context.Context, all ...mail.Feedback) error {
	all = slices.Clone(all)
	for i := range all { // what is written comes back by these names
		all[i].Provider, all[i].Event = clean(all[i].Provider), clean(all[i].Event)
	}
	return coded("recording feedback", v.s.transact(ctx, "feedback", func(x *tx) error {
		jobs, err := x.jobsOf(ctx, all)
		if err != nil {
			return err
		}
		fresh, err := x.insertFeedback(ctx, all, jobs)
		if err != nil {
			return err
		}
		now, err := x.time(ctx)
		if err != nil {
			return err
		}
		var events []job.Event
		var suppressions []mail.Suppression
		for _, f := range all {
			if !fresh[feedbackName{f.Provider, f.Event}] {
				continue
			}
			delete(fresh, feedbackName{f.Provider, f.Event}) // named twice, told once
			j := jobs[f.Job]
			if j != nil {
				e := job.Event{Job: j.ID, At: now, Kind: feedbackKinds[f.Kind], State: j.State, Actor: f.Provider, ReplyCode: f.ReplyCode, Message: f.Message}
				if f.Kind == mail.Bounced {
					e.Code = job.CodeTemporary
					if f.Permanent {
						e.Code = job.CodePermanent
					}
				}
				events = append(events, e)
			}
			if s := suppressionOf(f, j); s.Address != "" && s.Reason != "" {
				suppressions = append(suppressions, s)
			}
		}
		if err := x.insertEvents(ctx, events); err != nil {
			return err
		}
		return x.suppress(ctx, suppressions)
	}))
}

func suppressionOf(f mail.Feedback, j *job.Job) mail.Suppression {
	s := mail.Suppression{Address: addressOf(f, j), Reason: f.Suppress, Note: mail.Note(f.Provider + ": " + f.Message)}
	if j != nil {
		s.Job = string(j.ID)
	}
	return s
}

func addressOf(f mail.Feedback, j *job.Job) string {
	if f.Address != "" || j == nil {
		return f.Address
	}
	normal, err := mail.Normalise(j.Recipient)
	if err != nil {
		return ""
	}
	return normal
}

// jobsOf locks the jobs that feedback names, by the ids as it does.
func (x *tx) jobsOf(ctx context.Context, all []mail.Feedback) (map[string]*job.Job, error) {
	var ids []job.ID
	for _, f := range all {
		if id, err := job.ParseID(f.Job); err == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	found := map[string]*job.Job{}
	if len(ids) == 0 {
		return found, nil
	}
	jobs, _, err := x.lock(ctx, ids)
	for _, j := range jobs {
		found[string(j.ID)] = j
	}
	return found, err
}

// feedbackName is what an event is known by.
type feedbackName struct{ provider, event string }

// insertFeedback writes what is new, in the order of the names, so that two
// transactions cannot wait for each other, and returns which that is.
func (x *tx) insertFeedback(ctx context.Context, all []mail.Feedback, jobs map[string]*job.Job) (map[feedbackName]bool, error) {
	ordered := slices.Clone(all)
	slices.SortStableFunc(ordered, func(a, b mail.Feedback) int {
		return strings.Compare(a.Provider+"\x00"+a.Event, b.Provider+"\x00"+b.Event)
	})
	t := columns("provider text, event text, kind text, permanent boolean, address text, job_id uuid, at bigint, reply_code bigint, message text")
	for _, f := range ordered {
		j := jobs[f.Job]
		var id any
		if j != nil {
			id = string(j.ID)
		}
		t.add(f.Provider, f.Event, string(f.Kind), f.Permanent, clean(addressOf(f, j)), id, f.At.UnixMilli(), int64(f.ReplyCode), clean(f.Message))
	}
	fresh := map[feedbackName]bool{}
	return fresh, x.rows(ctx, t, `
		INSERT INTO feedback (provider, event, kind, permanent, address, job_id, at, created_at, reply_code, message)
		SELECT v.provider, v.event, v.kind, v.permanent, v.address, v.job_id, v.at, {now}, v.reply_code, v.message FROM {v} WHERE true
		ON CONFLICT (provider, event) DO NOTHING
		RETURNING provider, event`,
		func(rows *sql.Rows) error {
			var name feedbackName
			err := rows.Scan(&name.provider, &name.event)
			fresh[name] = true
			return err
		})
}
