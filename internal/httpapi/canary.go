package httpapi

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// rehearse answers POST /jobs/retry with sink.
func (a *api) rehearse(ctx context.Context, req retryRequest, f job.Filter, actor string) (*retryAnswer, error) {
	if req.Canary != nil {
		return nil, job.Invalid(tasks.Invalid{{Field: "canary", Problem: "and sink exclude each other"}})
	}
	f.Limit = job.MaxRehearsal
	if req.Limit != nil {
		f.Limit = *req.Limit
	}
	doing := act(ctx, "", "").OnMany(job.BulkRetry, f)
	doing.Action = audit.JobsRehearse
	out := &retryAnswer{}
	err := a.audit.Steps(ctx, doing, func(ctx context.Context) (int, error) {
		batch, made, passed, err := a.jobs.Rehearse(ctx, f, actor)
		out.Body = retryOutcome{Retried: len(made), BatchID: batch, BulkOutcome: BulkOutcome{Matched: len(made) + passed, Passed: passed}}
		return len(made), err
	})
	return out, err
}

// sendCanary retries the first jobs that the filter chooses. The cursor that it
// answers names them: nothing needs to be kept until it comes back.
func (a *api) sendCanary(ctx context.Context, f job.Filter, n int) (*retryAnswer, error) {
	f.Limit = n
	first, err := a.jobs.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := retryOutcome{}
	if out.Retried, out.BulkOutcome, err = a.actBulk(ctx, job.BulkRetry, f, "retried"); err != nil {
		return nil, err
	}
	if out.NextCursor != "" { // one that names them, too
		next := first[len(first)-1].ID
		ids := make([]string, len(first))
		for i, j := range first {
			ids[i] = string(j.ID)
		}
		out.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(string(next) + " " + strings.Join(ids, " ")))
	}
	return &retryAnswer{out}, nil
}

// readRetryCursor reads a place, and the canaries that were sent before it.
func readRetryCursor(s string) (before job.ID, canaries []job.ID, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return "", nil, err
	}
	parts := strings.Split(string(raw), " ")
	if before, err = job.ParseID(parts[0]); err != nil {
		return "", nil, err
	}
	for _, p := range parts[1:] {
		id, err := job.ParseID(p)
		if err != nil {
			return "", nil, err
		}
		canaries = append(canaries, id)
	}
	return before, canaries, nil
}

// canarySings refuses to go on from a canary's cursor as long as not all of
// those jobs are done. One that retention took in the meantime was over long ago.
func (a *api) canarySings(ctx context.Context, cursor string) error {
	if cursor == "" {
		return nil
	}
	_, canaries, err := readRetryCursor(cursor)
	if err != nil {
		return err
	}
	under, bad := 0, 0
	said := ""
	for _, id := range canaries {
		j, err := a.jobs.Find(ctx, id)
		switch {
		case job.CodeOf(err) == job.CodeNotFound || err == nil && j.State == job.Done:
		case err != nil:
			return err
		case j.State.Final() || j.State == job.Held || j.Attempts > 0:
			bad++
			said = j.Status(time.Time{})
			if j.Message != "" {
				said += ", " + j.Message
			}
		default:
			under++
		}
	}
	switch {
	case bad > 0:
		return job.Errorf(job.CodeConflict, "%d of the first %d did not go well again (%s): without the cursor the others are retried all the same", bad, len(canaries), said)
	case under > 0:
		return job.Errorf(job.CodeConflict, "%d of the first %d are still under way: ask again when they are over", under, len(canaries))
	}
	return nil
}
