package httpapi

import (
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
)

// stamp is a time as the API writes it: RFC 3339 in UTC with milliseconds,
// which is as exact as the databases are.
type stamp struct{ time.Time }

const stampForm = "2006-01-02T15:04:05.000Z07:00"

func (s stamp) String() string { return s.UTC().Format(stampForm) }

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Schema implements huma.SchemaProvider.
func (stamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Examples: []any{"2026-07-01T09:30:00.000Z"}}
}

// jobView is a job as the API shows it.
type jobView struct {
	ID              job.ID           `json:"id" example:"0198c1f0-7a52-7c3e-9b1d-2f6a8e4c5b70"`
	Type            string           `json:"type" example:"email:send"`
	Queue           string           `json:"queue" example:"email"`
	State           string           `json:"state" enum:"scheduled,queued,retrying,running,held,done,failed,cancelled,expired,suppressed" doc:"scheduled, queued and retrying wait for a run; held waits for a person; running runs; the others are final"`
	Recipient       string           `json:"recipient,omitempty" example:"user@example.com" doc:"who it is for: a mail address, or the stream of a notification"`
	BatchID         job.ID           `json:"batch_id,omitempty" doc:"of the request with several jobs that made it"`
	AcceptedBy      string           `json:"accepted_by" doc:"name of the API key"`
	CreatedAt       stamp            `json:"created_at,omitzero"`
	RunAt           stamp            `json:"run_at,omitzero" doc:"it does not run before"`
	ExpiresAt       stamp            `json:"expires_at,omitzero" doc:"it does not begin to run after"`
	StartedAt       stamp            `json:"started_at,omitzero" doc:"beginning of its last run"`
	FinishedAt      stamp            `json:"finished_at,omitzero" doc:"when it came to its final state"`
	Runs            int              `json:"runs" doc:"how often a worker took it up"`
	Attempts        int              `json:"attempts" doc:"how many runs count against max_attempts"`
	MaxAttempts     int              `json:"max_attempts"`
	Deaths          int              `json:"deaths" doc:"runs whose worker was lost"`
	CancelRequested bool             `json:"cancel_requested" doc:"of a running job: it stops if it still can"`
	Worker          string           `json:"worker,omitempty" doc:"that runs it"`
	Code            job.Code         `json:"code,omitempty" example:"temporary" doc:"class of the last outcome, unless that was success"`
	Message         string           `json:"message,omitempty" doc:"what the last outcome said, such as the mail server's reply"`
	ReplyCode       int              `json:"reply_code,omitempty" example:"451" doc:"the mail server's"`
	Answer          *delivery.Answer `json:"answer,omitempty" doc:"whether it was sent, in words; of a single job only"`
	Payload         json.RawMessage  `json:"payload,omitempty" doc:"only with payload=true and the scope admin, and until retention takes it"`
	Events          []eventView      `json:"events,omitempty" nullable:"false" doc:"its history, oldest first; of a single job only"`
}

type eventView struct {
	At        stamp         `json:"at"`
	Kind      job.EventKind `json:"kind" example:"settled"`
	State     job.State     `json:"state" doc:"that the job was in afterwards"`
	Run       int           `json:"run,omitempty"`
	Worker    string        `json:"worker,omitempty"`
	Actor     string        `json:"actor,omitempty" doc:"the API key or user whose doing it was"`
	Code      job.Code      `json:"code,omitempty"`
	ReplyCode int           `json:"reply_code,omitempty"`
	Message   string        `json:"message,omitempty"`
}

// show makes the view of a job as of now, without payload and events.
func show(j *job.Job, now time.Time) jobView {
	return jobView{
		ID: j.ID, Type: j.Type, Queue: j.Queue, State: j.Status(now), Recipient: j.Recipient,
		BatchID: j.Batch, AcceptedBy: j.AcceptedBy,
		CreatedAt: stamp{j.CreatedAt}, RunAt: stamp{j.RunAt}, ExpiresAt: stamp{j.ExpiresAt},
		StartedAt: stamp{j.StartedAt}, FinishedAt: stamp{j.FinishedAt},
		Runs: j.Runs, Attempts: j.Attempts, MaxAttempts: j.MaxAttempts, Deaths: j.Deaths,
		CancelRequested: j.CancelRequested, Worker: j.Worker,
		Code: j.Code, Message: j.Message, ReplyCode: j.ReplyCode,
	}
}

func showEvents(events []job.Event) []eventView {
	out := make([]eventView, len(events))
	for i := range events {
		out[i] = showEvent(&events[i])
	}
	return out
}

func showEvent(e *job.Event) eventView {
	return eventView{
		At: stamp{e.At}, Kind: e.Kind, State: e.State, Run: e.Run, Worker: e.Worker,
		Actor: e.Actor, Code: e.Code, ReplyCode: e.ReplyCode, Message: e.Message,
	}
}
