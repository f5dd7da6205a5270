package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// jobRequest is the body of POST /jobs and an entry of POST /jobs/batch.
type jobRequest struct {
	Type    string          `json:"type" example:"log:heartbeat" doc:"a job type of the catalogue"`
	Payload json.RawMessage `json:"payload,omitempty" doc:"an object as the job type wants it; none is the empty one"`
	Queue   string          `json:"queue,omitempty" doc:"the job type's own when left out"`

	Delay     *int64     `json:"delay,omitempty" minimum:"0" maximum:"31622400000" doc:"milliseconds from now until it runs"`
	RunAt     *time.Time `json:"run_at,omitempty" doc:"when it runs; instead of delay, at most 366 days ahead"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"from when on it is not run any more"`
}

func (in *jobRequest) submission() job.Submission {
	return job.Submission{
		Type: in.Type, Payload: in.Payload, Queue: in.Queue,
		Delay: milliseconds(in.Delay), RunAt: moment(in.RunAt), ExpiresAt: moment(in.ExpiresAt),
	}
}

func (a *api) postJob(ctx context.Context, who job.Caller, in jobRequest) (acceptance, error) {
	got, err := a.charged(ctx, who, 1, func() (job.Accepted, error) { return a.jobs.Accept(ctx, who, in.submission()) })
	if err != nil {
		return acceptance{}, err
	}
	return acceptedOne(got, "Job", "Job scheduled to run", timing{in.Delay, in.RunAt}), nil
}

// batchRequest is the body of POST /jobs/batch as it is documented. It is read
// by splitBatch, since a bad entry must not refuse the others.
type batchRequest struct {
	Jobs []jobRequest `json:"jobs" minItems:"1" maxItems:"10000" nullable:"false" doc:"each is accepted or refused on its own"`
}

// batchAccepted is the 202 of POST /jobs/batch.
type batchAccepted struct {
	Message  string       `json:"message" example:"2 jobs added to queue, 1 refused"`
	BatchID  job.ID       `json:"batch_id" doc:"names the accepted jobs together"`
	Accepted int          `json:"accepted" doc:"how many were"`
	Refused  int          `json:"refused" doc:"how many were not"`
	Jobs     []batchEntry `json:"jobs" nullable:"false" doc:"what became of each, in the order of the request"`
}

type batchEntry struct {
	ID     job.ID   `json:"id,omitempty"`
	Queue  string   `json:"queue,omitempty"`
	State  string   `json:"state,omitempty" enum:"queued,scheduled,suppressed"`
	RunAt  stamp    `json:"run_at,omitzero"`
	Reason string   `json:"reason,omitempty" doc:"why it is suppressed, or put off"`
	Error  *Problem `json:"error,omitempty" doc:"why this one was refused; nothing else is given then"`
}

func (a *api) postBatch(ctx context.Context, who job.Caller, raw []byte) (batchAccepted, bool, error) {
	entries, err := splitBatch(raw)
	if err != nil {
		return batchAccepted{}, false, err
	}
	subs := make([]job.Submission, len(entries))
	for i, entry := range entries {
		in, err := a.jobBody.decode(entry)
		if err != nil {
			subs[i].Err = err
			continue
		}
		subs[i] = in.submission()
	}
	got, err := a.charged(ctx, who, len(subs), func() (job.Accepted, error) { return a.jobs.AcceptEach(ctx, who, subs) })
	if err != nil {
		return batchAccepted{}, false, err
	}
	out := batchAccepted{BatchID: got.Base, Jobs: make([]batchEntry, len(subs))}
	var ours error // the first refusal that is no fault of the caller's
	for i, j := range got.Jobs {
		if j.Err != nil {
			p := problemOf(j.Err)
			if p.Status >= http.StatusInternalServerError && ours == nil {
				ours = j.Err
			}
			out.Jobs[i].Error = p
			out.Refused++
			continue
		}
		v := view(j)
		out.Jobs[i] = batchEntry{ID: v.ID, Queue: v.Queue, State: v.State, RunAt: v.RunAt, Reason: v.Reason}
		out.Accepted++
	}
	if ours != nil {
		a.told(ctx, ours) // one line for all of them
	}
	out.Message = fmt.Sprintf("%d %s added to queue", out.Accepted, plural(out.Accepted, "job"))
	if out.Refused > 0 {
		out.Message += fmt.Sprintf(", %d refused", out.Refused)
	}
	return out, got.Replayed, nil
}

// splitBatch takes {"jobs": […]} apart and leaves the entries unread, at most
// job.MaxBatch of them.
func splitBatch(raw []byte) ([]json.RawMessage, error) {
	if !json.Valid(raw) {
		var any json.RawMessage
		return nil, badJSON(json.Unmarshal(raw, &any))
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, job.Invalid(tasks.Invalid{{Field: "body", Problem: "must be an object with the field jobs"}})
	}
	var bad tasks.Invalid
	for name := range top {
		if name != "jobs" {
			bad.Add(clipped(name), "is not a field of this request")
		}
	}
	jobs := bytes.TrimSpace(top["jobs"])
	if len(jobs) == 0 || jobs[0] != '[' {
		bad.Add("jobs", "must be an array")
	}
	if err := bad.OrNil(); err != nil {
		return nil, job.Invalid(err)
	}
	var entries []json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(jobs))
	_, err := dec.Token() // the bracket
	for err == nil && dec.More() {
		if len(entries) == job.MaxBatch {
			return nil, job.Invalid(tasks.Invalid{{Field: "jobs", Problem: fmt.Sprintf("has more than %d entries", job.MaxBatch)}})
		}
		var entry json.RawMessage
		err = dec.Decode(&entry)
		entries = append(entries, entry)
	}
	if err != nil {
		return nil, badJSON(err)
	}
	return entries, nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
