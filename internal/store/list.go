package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// List implements job.Reader.
func (s *Store) List(ctx context.Context, f job.Filter) ([]job.Job, error) {
	text, args, err := listText(f)
	if err != nil || text == "" {
		return nil, err
	}
	var out []job.Job
	err = s.ask(ctx, "listing jobs", text, func(rows *sql.Rows) error {
		j, err := scanJob(rows)
		out = append(out, j)
		return err
	}, args...)
	return out, err
}

// listText writes List as SQL, empty where no job can be chosen.
func listText(f job.Filter) (text string, args []any, err error) {
	where, args, err := conditions(f)
	if err != nil || where == "" {
		return "", nil, err
	}
	from, id := listed(f)
	return "SELECT " + jobColumns + " FROM " + from + " WHERE " + where + " ORDER BY " + id + " DESC LIMIT ?", append(args, f.Limit), nil
}

// Count implements job.Reader.
func (s *Store) Count(ctx context.Context, f job.Filter) (n int, err error) {
	where, args, err := conditions(f)
	if err != nil || where == "" {
		return 0, err
	}
	from, _ := listed(f)
	err = s.ask(ctx, "counting jobs", "SELECT count(*) FROM "+from+" WHERE "+where, func(rows *sql.Rows) error { return rows.Scan(&n) }, args...)
	return n, err
}

// listed is where a filter's jobs are read, and the id that they are ordered by:
// that of the table whose index has them in this order.
func listed(f job.Filter) (from, id string) {
	switch {
	case f.Template == "" && f.Category == "":
		return "jobs", "jobs.id"
	case f.Recipient != "" || f.Batch != "" || f.Schedule != "" || slices.Contains(troubled, job.State(f.Status)):
		return "jobs JOIN mails ON mails.job_id = jobs.id", "jobs.id"
	}
	return "mails JOIN jobs ON jobs.id = mails.job_id", "mails.job_id"
}

// conditions writes a filter as SQL, empty where no job can be chosen.
func conditions(f job.Filter) (sql string, args []any, err error) {
	where := []string{"TRUE"}
	and := func(cond string, v ...any) { where, args = append(where, cond), append(args, v...) }
	at, of := "{now}", []any(nil)
	if !f.Unchanged.IsZero() {
		at, of = "?", []any{f.Unchanged.UnixMilli()}
	}
	switch f.Status {
	case "":
	case "scheduled":
		and("state = 'waiting' AND attempts = 0 AND run_at > "+at, of...)
	case "queued":
		and("state = 'waiting' AND attempts = 0 AND run_at <= "+at, of...)
	case "retrying":
		and("state = 'waiting' AND attempts > 0")
	default:
		if !slices.Contains(job.States, job.State(f.Status)) {
			return "", nil, job.Errorf(job.CodeInvalid, "no job has the state %q", f.Status)
		}
		// Written out, so that the planner sees that a partial index serves.
		and("state = '" + f.Status + "'")
		// SQLite wants the index's own words to use it; a recipient's or a batch's is the better one.
		if slices.Contains(troubled, job.State(f.Status)) && f.Recipient == "" && f.Batch == "" && f.Schedule == "" {
			and(troubledWords)
		}
	}
	if f.Type != "" {
		and("type = ?", clean(f.Type))
	}
	if f.Queue != "" {
		and("queue = ?", clean(f.Queue))
	}
	if f.Recipient != "" {
		and("recipient = ? AND recipient <> ''", clean(f.Recipient))
	}
	if f.Batch != "" {
		if _, err := job.ParseID(string(f.Batch)); err != nil {
			return "", nil, nil // no job is of such a batch
		}
		and("batch = ?", string(f.Batch))
	}
	if f.Template != "" {
		and("mails.template = ? AND mails.template <> ''", clean(f.Template))
	}
	if f.Category != "" {
		and("mails.category = ? AND mails.category <> ''", clean(f.Category))
	}
	if f.Schedule != "" {
		and("accepted_by = ? AND "+scheduledWords, "schedule:"+clean(f.Schedule))
	}
	if f.Worker != "" {
		and("worker = ?", clean(f.Worker))
	}
	_, id := listed(f)
	if !f.Since.IsZero() {
		and("created_at >= ?", f.Since.UnixMilli())
		and(id+" >= ?", string(job.IDFrom(f.Since.Add(-idSlack))))
	}
	if !f.Until.IsZero() {
		and("created_at < ?", f.Until.UnixMilli())
		and(id+" < ?", string(job.IDFrom(f.Until.Add(idSlack))))
	}
	if f.Code != "" {
		and("code = ?", clean(string(f.Code)))
	}
	if !f.Unchanged.IsZero() {
		and("updated_at < ?", f.Unchanged.UnixMilli())
	}
	if f.Before != "" {
		if _, err := job.ParseID(string(f.Before)); err != nil {
			return "", nil, job.Errorf(job.CodeInvalid, "the cursor is not one that this list gave")
		}
		and(id+" < ?", string(f.Before))
	}
	return strings.Join(where, " AND "), args, nil
}

// troubled are the states that the index jobs_troubled holds.
var troubled = []job.State{job.Held, job.Failed, job.Cancelled, job.Expired, job.Suppressed}

// troubledWords are the condition of the index jobs_troubled.
const troubledWords = "state IN ('held', 'failed', 'cancelled', 'expired', 'suppressed')"

// scheduledWords are the condition of the index jobs_schedule.
const scheduledWords = "substr(accepted_by, 1, 9) = 'schedule:'"

// idSlack is how far the clocks that ids are made by may be from the database's:
// by its id a job accepted in a span of time is found without an index of times.
const idSlack = time.Hour
