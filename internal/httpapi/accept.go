package httpapi

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// acceptance is the 202 of the routes that make jobs.
type acceptance struct {
	Replayed string `header:"Idempotency-Replayed" enum:"true" doc:"true where the Idempotency-Key was met before: this is the first answer again"`
	Body     accepted
}

func replayed(yes bool) string {
	if yes {
		return "true"
	}
	return "" // no header
}

type accepted struct {
	Message string        `json:"message" example:"Email task added to queue" doc:"what has happened, for people"`
	ID      job.ID        `json:"id,omitempty" example:"0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70" doc:"the job"`
	Queue   string        `json:"queue,omitempty" example:"email" doc:"that it waits in"`
	State   string        `json:"state,omitempty" enum:"queued,scheduled,suppressed" doc:"suppressed ones are not sent: their recipient does not want or get such"`
	RunAt   stamp         `json:"run_at,omitzero" doc:"when it is due; of scheduled ones only"`
	Reason  string        `json:"reason,omitempty" doc:"why it is suppressed, or put off"`
	BatchID job.ID        `json:"batch_id,omitempty" doc:"names the jobs of several recipients together; instead of id, queue and state"`
	Jobs    []acceptedJob `json:"jobs,omitempty" nullable:"false" doc:"a job for each recipient"`
}

type acceptedJob struct {
	ID        job.ID `json:"id,omitempty"`
	Queue     string `json:"queue,omitempty" example:"email"`
	State     string `json:"state,omitempty" enum:"queued,scheduled,suppressed"`
	RunAt     stamp  `json:"run_at,omitzero"`
	Reason    string `json:"reason,omitempty"`
	Recipient string `json:"recipient,omitempty" example:"user@example.com"`
}

// timing is when the caller asked for: at most one is set.
type timing struct {
	delay *int64 // milliseconds
	at    *time.Time
}

// String follows a phrase such as "scheduled to be sent".
func (t timing) String() string {
	if t.at != nil {
		return "at " + stamp{*t.at}.String()
	}
	return "in " + spoken(milliseconds(t.delay))
}

// of is the time of a job, which may have been put off.
func (t timing) of(j acceptedJob) string {
	if j.Reason != "" {
		return "at " + j.RunAt.String()
	}
	return t.String()
}

// acceptedOne answers for one job: "<thing> added to queue", or "<later> in …".
func acceptedOne(got job.Accepted, thing, later string, when timing) acceptance {
	j := view(got.Jobs[0])
	out := accepted{Message: thing + " added to queue", ID: j.ID, Queue: j.Queue, State: j.State, RunAt: j.RunAt, Reason: j.Reason}
	switch j.State {
	case "scheduled":
		out.Message = later + " " + when.of(j)
	case string(job.Suppressed):
		out.Message = thing + " accepted, and suppressed"
	}
	return acceptance{replayed(got.Replayed), out}
}

// acceptedSeveral answers for the jobs of several recipients, as acceptedOne
// does with their number before it.
func acceptedSeveral(got job.Accepted, things, later string, when timing) acceptance {
	out := accepted{BatchID: got.Base}
	var live []acceptedJob
	for _, j := range got.Jobs {
		out.Jobs = append(out.Jobs, view(j))
		if j.Status != string(job.Suppressed) {
			live = append(live, view(j))
		}
	}
	suppressed := len(got.Jobs) - len(live)
	switch {
	case len(live) == 0:
		out.Message = fmt.Sprintf("%d %s accepted, and suppressed", suppressed, things)
		return acceptance{replayed(got.Replayed), out}
	case live[0].State == "scheduled":
		out.Message = fmt.Sprintf("%d %s %s", len(live), later, when.of(live[0]))
	default:
		out.Message = fmt.Sprintf("%d %s added to queue", len(live), things)
	}
	if suppressed > 0 {
		out.Message += fmt.Sprintf(", %d suppressed", suppressed)
	}
	return acceptance{replayed(got.Replayed), out}
}

func view(j job.Acceptance) acceptedJob {
	out := acceptedJob{ID: j.ID, Queue: j.Queue, State: j.Status, Reason: j.Reason}
	if j.Status == "scheduled" {
		out.RunAt = stamp{j.RunAt}
	}
	return out
}

// milliseconds is a delay as the domain counts it; the schema has bounded it.
func milliseconds(ms *int64) time.Duration {
	if ms == nil {
		return 0
	}
	return time.Duration(*ms) * time.Millisecond
}

func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// spoken puts a duration for people: "500 milliseconds", "1 second", "1.5
// seconds", "90 seconds", "2 minutes", "36 hours", "2.5 days": in the largest
// unit of which there are at least two, seconds from one on.
func spoken(d time.Duration) string {
	unit, name := time.Millisecond, "millisecond"
	switch {
	case d >= 48*time.Hour:
		unit, name = 24*time.Hour, "day"
	case d >= 2*time.Hour:
		unit, name = time.Hour, "hour"
	case d >= 2*time.Minute:
		unit, name = time.Minute, "minute"
	case d >= time.Second:
		unit, name = time.Second, "second"
	}
	n := strings.TrimSuffix(strconv.FormatFloat(float64(d)/float64(unit), 'f', 1, 64), ".0")
	if n != "1" {
		name += "s"
	}
	return n + " " + name
}
