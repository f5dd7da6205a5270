package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

// What a provider tells is written onto the mail's job, whose state stays, and
// onto the list; told again it changes nothing.
func TestRecordFeedback(t *testing.T) {
	onSuppressions(t, func(t *testing.T, s *store.Store, list mail.Suppressions, clock jobtest.Clock) {
		ctx := t.Context()
		id := job.NewID()
		_, err := s.Accept(ctx, job.Request{Base: id, Jobs: []job.New{{ID: id, Type: "test", Queue: "default", Recipient: "ann@example.com", Payload: []byte("{}"), MaxAttempts: 1, OnAmbiguous: "resend"}}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Claim(ctx, job.Claim{ID: id, Token: "t", Worker: "w", Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Settle(ctx, job.Plan(&c.Job, tasks.DefaultBackoff, job.Succeeded("250"))); err != nil {
			t.Fatal(err)
		}
		all := []mail.Feedback{
			{Provider: "ses", Event: "1", Kind: mail.Delivered, Job: string(id), Address: "ann@example.com", At: clock.Now()},
			{Provider: "ses", Event: "2", Kind: mail.Bounced, Job: string(id), At: clock.Now(), ReplyCode: 452, Message: "full"},
			{Provider: "ses", Event: "3\x00\xff", Kind: mail.Bounced, Permanent: true, Suppress: mail.Bounce, Job: string(id), At: clock.Now(), ReplyCode: 550, Message: "gone\x00"},
			{Provider: "ses", Event: "3\x00\xff", Kind: mail.Bounced, Permanent: true, Suppress: mail.Bounce, Job: string(id), At: clock.Now()},
			{Provider: "ses", Event: "4", Kind: mail.Complained, Suppress: mail.Complaint, Address: "bob@example.com", Job: string(job.NewID()), At: clock.Now()},
			{Provider: "ses", Event: "5", Kind: mail.Bounced, Suppress: mail.Bounce, Job: "no id", At: clock.Now()},
			{Provider: "generic", Event: "1", Kind: mail.Delivered, Address: "cat@example.com", At: clock.Now()},
		}
		if err := s.Feedback().Record(ctx, all...); err != nil {
			t.Fatal(err)
		}
		// The list is put right by hand; the same feedback does not undo that.
		if _, err := list.Unsuppress(ctx, mail.SuppressionFilter{Address: "bob@example.com"}); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(all)
		if err := s.Feedback().Record(ctx, all...); err != nil {
			t.Fatal(err)
		}
		j, err := s.Find(ctx, id)
		if err != nil || j.State != job.Done || j.Message != "250" {
			t.Errorf("the job is %s: %q (%v)", j.State, j.Message, err)
		}
		events, err := s.Events(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events[3:] {
			got = append(got, string(e.Kind)+" "+string(e.State)+" "+string(e.Code)+" "+e.Actor+" "+e.Message)
		}
		want := []string{"delivered done  ses ", "bounced done temporary ses full", "bounced done permanent ses gone\uFFFD"}
		if !slices.Equal(got, want) {
			t.Errorf("the events are %q, want %q", got, want)
		}
		found, err := list.List(ctx, mail.SuppressionFilter{Limit: 10})
		if want := []string{"ann@example.com  bounce ses: gone  " + string(id)}; err != nil || !slices.Equal(told(found), want) {
			t.Errorf("suppressed are %q (%v), want %q", told(found), err, want)
		}
		if err := s.Feedback().Record(ctx); err != nil {
			t.Errorf("nothing is an error: %v", err)
		}

		// Feedback goes with the jobs that it is about.
		clock.Advance(2 * time.Hour)
		keep := job.Retention{Done: time.Hour, Bodies: time.Hour, Failed: time.Hour}
		if n, err := s.Purge(ctx, keep, 100); err != nil || n != 6 {
			t.Errorf("purged are %d (%v)", n, err)
		}
	})
}
