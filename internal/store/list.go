package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/job"
)

// List implements job.Reader.
func (s *Store) List(ctx context.Context, f job.Filter) ([]job.Job, error) {
	where, args, err := conditions(f)
	if err != nil || where == "" {
		return nil, err
	}
	var out []job.Job
	err = s.ask(ctx, "listing jobs", "SELECT "+jobColumns+" FROM jobs WHERE "+where+" ORDER BY id DESC LIMIT ?", func(rows *sql.Rows) error {
		j, err := scanJob(rows)
		out = append(out, j)
		return err
	}, append(args, f.Limit)...)
	return out, err
}

// Count implements job.Reader.
func (s *Store) Count(ctx context.Context, f job.Filter) (n int, err error) {
	where, args, err := conditions(f)
	if err != nil || where == "" {
		return 0, err
	}
	err = s.ask(ctx, "counting jobs", "SELECT count(*) FROM jobs WHERE "+where, func(rows *sql.Rows) error { return rows.Scan(&n) }, args...)
	return n, err
}

// conditions writes a filter as SQL, empty where no job can be chosen.
func conditions(f job.Filter) (sql string, args []any, err error) {
	where := []string{"TRUE"}
	and := func(cond string, v ...any) { where, args = append(where, cond), append(args, v...) }
	switch f.Status {
	case "":
	case "scheduled":
		and("state = 'waiting' AND attempts = 0 AND run_at > {now}")
	case "queued":
		and("state = 'waiting' AND attempts = 0 AND run_at <= {now}")
	case "retrying":
		and("state = 'waiting' AND attempts > 0")
	default:
		if !slices.Contains(job.States, job.State(f.Status)) {
			return "", nil, job.Errorf(job.CodeInvalid, "no job has the state %q", f.Status)
		}
		// Written out, so that the planner sees that a partial index serves.
		and("state = '" + f.Status + "'")
		// SQLite wants the index's own words to use it; a recipient's or a batch's is the better one.
		if slices.Contains(troubled, job.State(f.Status)) && f.Recipient == "" && f.Batch == "" {
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
	if !f.Since.IsZero() {
		and("created_at >= ?", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		and("created_at < ?", f.Until.UnixMilli())
	}
	if f.Code != "" {
		and("code = ?", clean(string(f.Code)))
	}
	if f.Before != "" {
		if _, err := job.ParseID(string(f.Before)); err != nil {
			return "", nil, job.Errorf(job.CodeInvalid, "the cursor is not one that this list gave")
		}
		and("id < ?", string(f.Before))
	}
	return strings.Join(where, " AND "), args, nil
}

// troubled are the states that the index jobs_troubled holds.
var troubled = []job.State{job.Held, job.Failed, job.Cancelled, job.Expired, job.Suppressed}

// troubledWords are the condition of the index jobs_troubled.
const troubledWords = "state IN ('held', 'failed', 'cancelled', 'expired', 'suppressed')"
