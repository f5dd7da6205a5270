package delivery_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
)

var noon = time.Date(2026, 7, 1, 12, 3, 5, 0, time.UTC)

func TestAnswer(t *testing.T) {
	feedback := func(kind job.EventKind, message string) []job.Event {
		return []job.Event{{Kind: job.EventAccepted, At: noon}, {Kind: kind, At: noon.Add(time.Minute), Message: message}}
	}
	done := job.Job{Type: "email:send", State: job.Done, FinishedAt: noon, Message: "main (mx.example.com:25): 2.0.0 OK", ReplyCode: 250}
	for name, c := range map[string]struct {
		job    job.Job
		events []job.Event
		want   delivery.Verdict
		text   string
	}{
		"sent":           {done, nil, delivery.Sent, "Sent at 2026-07-01 12:03:05 to main (mx.example.com:25): 2.0.0 OK, reply 250"},
		"in the mailbox": {done, feedback(job.EventDelivered, ""), delivery.Sent, "reply 250; in the mailbox at 2026-07-01 12:04:05"},
		"bounced":        {done, feedback(job.EventBounced, "550 5.1.1 no such user"), delivery.Bounced, "came back at 2026-07-01 12:04:05: 550 5.1.1 no such user"},
		"complained":     {done, feedback(job.EventComplained, ""), delivery.Sent, "called spam by its reader"},
		"unsubscribed":   {done, feedback(job.EventUnsubscribed, ""), delivery.Sent, "unsubscribed at"},
		"into the sink":  {job.Job{Type: "email:send", State: job.Done, FinishedAt: noon, Message: "sink: taken and dropped"}, nil, delivery.NotSent, "given to the sink"},
		"in the inbox":   {job.Job{Type: "notification:send", State: job.Done, FinishedAt: noon}, nil, delivery.Sent, "In the inbox since"},
		"suppressed":     {job.Job{State: job.Suppressed, Message: "bounce"}, nil, delivery.NotSent, "Not sent: it must not be: bounce"},
		"cancelled":      {job.Job{State: job.Cancelled, FinishedAt: noon}, nil, delivery.NotSent, "cancelled at"},
		"expired":        {job.Job{State: job.Expired}, nil, delivery.NotSent, "its time was over"},
		"failed":         {job.Job{State: job.Failed, Attempts: 1, Message: "no such user", ReplyCode: 550}, nil, delivery.NotSent, "Not sent: given up after 1 attempt: no such user, reply 550"},
		"held":           {job.Job{State: job.Held}, nil, delivery.Unclear, "waits for a person's word"},
		"running":        {job.Job{State: job.Running, StartedAt: noon}, nil, delivery.NotYet, "being sent now"},
		"scheduled":      {job.Job{State: job.Waiting, RunAt: noon.Add(time.Hour)}, nil, delivery.NotYet, "it is for 2026-07-01 13:03"},
		"retrying":       {job.Job{State: job.Waiting, Attempts: 2, MaxAttempts: 12, RunAt: noon.Add(time.Hour), Message: "421 busy", ReplyCode: 421}, nil, delivery.NotYet, "attempt 2 of 12 failed, the next is at 2026-07-01 13:03:05: 421 busy"},
		"queued":         {job.Job{State: job.Waiting, RunAt: noon}, nil, delivery.NotYet, "waited for a worker since"},
	} {
		if got := delivery.AnswerOf(&c.job, c.events, noon.Add(time.Second)); got.Verdict != c.want || !strings.Contains(got.Text, c.text) {
			t.Errorf("%s: the answer is %q, want %s with %q", name, got, c.want, c.text)
		}
	}
}

func TestTell(t *testing.T) {
	j := &job.Job{Type: "email:send"}
	for _, c := range []struct {
		event job.Event
		want  string
	}{
		{job.Event{Kind: job.EventAccepted, Actor: "shop", State: job.Waiting}, "Accepted from shop"},
		{job.Event{Kind: job.EventAccepted, Actor: "shop", State: job.Suppressed, Message: "bounce"}, "Accepted from shop, and suppressed at once: bounce"},
		{job.Event{Kind: job.EventStarted, Worker: "w1", Run: 2}, "Attempt begun by the worker w1, run 2"},
		{job.Event{Kind: job.EventSettled, State: job.Waiting, Code: job.CodeTemporary, Message: "busy", ReplyCode: 451}, "Failed, and will be tried again: busy, reply 451"},
		{job.Event{Kind: job.EventSettled, State: job.Waiting, Code: job.CodeRateLimited}, "Put off: it was not its turn"},
		{job.Event{Kind: job.EventSettled, State: job.Waiting, Code: job.CodeAmbiguous}, "It may have gone out; it is sent again to be sure"},
		{job.Event{Kind: job.EventSettled, State: job.Waiting}, "Put off: the worker stopped before it had begun"},
		{job.Event{Kind: job.EventSettled, State: job.Done, Message: "main: ok", ReplyCode: 250}, "Sent to main: ok, reply 250"},
		{job.Event{Kind: job.EventSettled, State: job.Done, Message: "sink: dropped"}, "Not sent, as was asked: given to the sink: dropped"},
		{job.Event{Kind: job.EventSettled, State: job.Failed, Message: "gone"}, "Failed for good: gone"},
		{job.Event{Kind: job.EventCancelled, Actor: "ann"}, "Cancelled by ann"},
		{job.Event{Kind: job.EventBounced, Message: "gone"}, "It came back: gone"},
		{job.Event{Kind: "new", Message: "words"}, "new: words"},
	} {
		if got := delivery.Tell(j, []job.Event{c.event})[0].Text; got != c.want {
			t.Errorf("%+v is told as %q, want %q", c.event, got, c.want)
		}
	}
}

func TestRead(t *testing.T) {
	id := job.NewID()
	for text, want := range map[string]delivery.Query{
		"":                       {},
		" Ann@Example.com ":      {Recipients: []string{"ann@example.com"}},
		"<ann@example.com>":      {Recipients: []string{"ann@example.com"}},
		"ann@BÜCHER.example":     {Recipients: []string{"ann@bücher.example", "ann@xn--bcher-kva.example"}},
		"user:42":                {Recipients: []string{"user:42"}},
		"Your receipt":           {Subject: "Your receipt"},
		"write to a@example.com": {Subject: "write to a@example.com"},
	} {
		got, found := delivery.Read(text)
		if found != "" || got.Subject != want.Subject || !slices.Equal(got.Recipients, want.Recipients) {
			t.Errorf("%q is read as %+v, want %+v", text, got, want)
		}
	}
	for _, text := range []string{string(id), strings.ToUpper(string(id)), "<" + string(id) + "@example.com>", string(id) + "@example.com"} {
		if _, found := delivery.Read(text); found != id {
			t.Errorf("%q is read as the job %q", text, found)
		}
	}
}
