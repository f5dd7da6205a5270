package delivery

import (
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Verdict is the answer in a word.
type Verdict string

// The verdicts.
const (
	Sent    Verdict = "sent" // the server has it
	NotSent Verdict = "not_sent"
	NotYet  Verdict = "not_yet"
	Unclear Verdict = "unclear" // it may have gone out
	Bounced Verdict = "bounced" // it went out and came back
)

// Answer says whether somebody got a mail, and if not, why.
type Answer struct {
	Verdict Verdict `json:"verdict" enum:"sent,not_sent,not_yet,unclear,bounced" doc:"sent: the mail server, or the inbox, has it; bounced: it had it, and gave it back"`
	Text    string  `json:"text" example:"Sent at 12:03:05 to main (mx.example.com:25): 2.0.0 OK, reply 250" doc:"the same in words"`
}

// feedback are the kinds of events that came back after a mail had gone out.
var feedback = []job.EventKind{job.EventDelivered, job.EventBounced, job.EventComplained, job.EventUnsubscribed}

// AnswerOf reads the answer off a job and its events, of which only what came
// back is looked at, as of now.
func AnswerOf(j *job.Job, events []job.Event, now time.Time) Answer {
	switch j.State {
	case job.Done:
		return sent(j, events)
	case job.Suppressed:
		return Answer{NotSent, sentence("Not sent: it must not be", j.Message)}
	case job.Cancelled:
		return Answer{NotSent, "Not sent: it was cancelled at " + clock(j.FinishedAt)}
	case job.Expired:
		return Answer{NotSent, sentence("Not sent: its time was over before it could be", j.Message)}
	case job.Failed:
		return Answer{NotSent, sentence(fmt.Sprintf("Not sent: given up after %s", times(j.Attempts, "attempt")), replied(j.Message, j.ReplyCode))}
	case job.Held:
		return Answer{Unclear, sentence("It may have gone out or not, and waits for a person's word", j.Message)}
	case job.Running:
		return Answer{NotYet, "Not yet: it is being sent now, since " + clock(j.StartedAt)}
	}
	switch j.Status(now) {
	case "scheduled":
		return Answer{NotYet, "Not yet: it is for " + day(j.RunAt)}
	case "retrying":
		return Answer{NotYet, sentence(fmt.Sprintf("Not yet: attempt %d of %d failed, the next is at %s", j.Attempts, j.MaxAttempts, clock(j.RunAt)), replied(j.Message, j.ReplyCode))}
	default:
		return Answer{NotYet, "Not yet: it has waited for a worker since " + clock(j.RunAt)}
	}
}

// sent is the answer about a job that is done.
func sent(j *job.Job, events []job.Event) Answer {
	a := Answer{Sent, fmt.Sprintf("Sent at %s", clock(j.FinishedAt))}
	switch {
	case strings.HasPrefix(j.Message, SinkPrefix):
		return Answer{NotSent, "Not sent, as was asked: built and checked at " + clock(j.FinishedAt) + ", and given to the sink"}
	case strings.HasPrefix(j.Type, "notification:"):
		a.Text = "In the inbox since " + clock(j.FinishedAt)
	case j.Message != "":
		a.Text += " to " + replied(j.Message, j.ReplyCode)
	}
	for _, e := range events { // what came last counts, but a complaint says that it arrived
		switch e.Kind {
		case job.EventDelivered:
			a.Verdict, a.Text = Sent, a.Text+"; in the mailbox at "+clock(e.At)
		case job.EventBounced:
			a.Verdict, a.Text = Bounced, sentence("Sent at "+clock(j.FinishedAt)+", and came back at "+clock(e.At), replied(e.Message, e.ReplyCode))
		case job.EventComplained:
			a.Verdict, a.Text = Sent, a.Text+"; called spam by its reader at "+clock(e.At)
		case job.EventUnsubscribed:
			a.Text += "; its reader unsubscribed at " + clock(e.At)
		}
	}
	return a
}

// SinkPrefix begins what a run says that gave its mail to the sink.
const SinkPrefix = "sink: "

// Line is one step of a mail's story.
type Line struct {
	At   time.Time
	Text string
	// Quiet lines matter to who runs Postrider, and not to who asks about the
	// mail.
	Quiet bool
}

// Tell puts a job's events into words.
func Tell(j *job.Job, events []job.Event) []Line {
	out := make([]Line, len(events))
	for i := range events {
		e := &events[i]
		text, quiet := words(j, e)
		out[i] = Line{At: e.At, Text: text, Quiet: quiet}
	}
	return out
}

// by names who did it, if somebody did.
func by(verb, actor string) string {
	if actor == "" {
		return verb
	}
	return verb + " by " + actor
}

func words(j *job.Job, e *job.Event) (text string, quiet bool) {
	said := replied(e.Message, e.ReplyCode)
	switch e.Kind {
	case job.EventAccepted:
		text = "Accepted"
		if e.Actor != "" {
			text += " from " + e.Actor
		}
		if e.State == job.Suppressed {
			text += ", and suppressed at once"
		}
		return sentence(text, said), false
	case job.EventStarted:
		return fmt.Sprintf("Attempt begun by the worker %s, run %d", e.Worker, e.Run), true
	case job.EventSettled:
		return settled(j, e, said), false
	case job.EventDied:
		return sentence("The worker was lost in the middle of it", said), false
	case job.EventLate:
		return sentence("A worker that had been given up told what became of it; that changed nothing", said), true
	case job.EventCancelRequested:
		return by("Cancellation asked for", e.Actor), false
	case job.EventCancelled:
		return by("Cancelled", e.Actor), false
	case job.EventExpired:
		return sentence("Not sent before its time was over", said), false
	case job.EventRetried:
		return by("Begun anew", e.Actor), false
	case job.EventRunNow:
		return by("Made due at once", e.Actor), false
	case job.EventResolved:
		return sentence(by("Decided", e.Actor), said), false
	case job.EventRedispatched:
		return sentence("Sent to the queue again", said), true
	case job.EventDelivered:
		return sentence("The provider says that it is in the mailbox", said), false
	case job.EventBounced:
		return sentence("It came back", said), false
	case job.EventComplained:
		return sentence("Its reader called it spam", said), false
	case job.EventUnsubscribed:
		return sentence("Its reader unsubscribed", said), false
	case job.EventResent:
		return sentence(by("Sent once more", e.Actor), said), false
	case job.EventErased:
		return by("Address and content erased", e.Actor), false
	}
	return sentence(string(e.Kind), said), false
}

// settled is a run's outcome in words.
func settled(j *job.Job, e *job.Event, said string) string {
	switch e.State {
	case job.Done:
		switch {
		case strings.HasPrefix(e.Message, SinkPrefix):
			return sentence("Not sent, as was asked: given to the sink", strings.TrimPrefix(said, SinkPrefix))
		case strings.HasPrefix(j.Type, "notification:"):
			return "Put into the inbox"
		case said == "":
			return "Done"
		}
		return "Sent to " + said
	case job.Waiting:
		switch e.Code {
		case job.CodeRateLimited:
			return sentence("Put off: it was not its turn", said)
		case job.CodeAmbiguous:
			return sentence("It may have gone out; it is sent again to be sure", said)
		case "":
			return sentence("Put off: the worker stopped before it had begun", said)
		}
		return sentence("Failed, and will be tried again", said)
	case job.Held:
		return sentence("It may have gone out or not: held for a person's word", said)
	case job.Suppressed:
		return sentence("Not sent: it must not be", said)
	case job.Cancelled:
		return sentence("Stopped before it went out", said)
	}
	return sentence("Failed for good", said)
}

func sentence(text, more string) string {
	if more == "" {
		return text
	}
	return text + ": " + more
}

// replied is what a server said, with its code where the words lack it.
func replied(message string, code int) string {
	if code == 0 || strings.Contains(message, fmt.Sprint(code)) {
		return message
	}
	if message == "" {
		return fmt.Sprintf("reply %d", code)
	}
	return fmt.Sprintf("%s, reply %d", message, code)
}

func times(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// clock and day are times for people, in UTC as everywhere.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
func day(t time.Time) string   { return t.UTC().Format("2006-01-02 15:04") }
