package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/numbers"
)

var _ numbers.Log = (*Store)(nil)

// Tally implements numbers.Log. Events are in the order of their numbers, nearly
// that of time: of the whole log only what is above after is read.
func (s *Store) Tally(ctx context.Context, after int64, from, to numbers.Second) (numbers.Tally, error) {
	out := numbers.Tally{Seconds: map[numbers.Second]*numbers.Rates{}}
	begin, end := int64(from)*1000, int64(to)*1000
	err := s.ask(ctx, "counting events", `
		SELECT {now}, (SELECT COALESCE(max(seq), 0) FROM job_events), c.second, c.kind, c.state, c.n
		FROM (SELECT 1 AS one) AS o LEFT JOIN (
			SELECT at / 1000 AS second, kind, state, count(*) AS n FROM job_events WHERE seq > ? AND at >= ? AND at < ? GROUP BY 1, 2, 3
		) AS c ON TRUE`,
		func(rows *sql.Rows) error {
			var now, second, n sql.NullInt64
			var kind, state sql.NullString
			err := rows.Scan(&now, &out.End, &second, &kind, &state, &n)
			out.Now = fromMS(now.Int64)
			if err == nil && second.Valid {
				rates := out.Seconds[numbers.Second(second.Int64)]
				if rates == nil {
					rates = &numbers.Rates{}
					out.Seconds[numbers.Second(second.Int64)] = rates
				}
				count(rates, job.EventKind(kind.String), job.State(state.String), n.Int64)
			}
			return err
		}, after, begin, end)
	if err != nil {
		return out, err
	}
	// A job that is to run again has the time of that in run_at.
	err = s.ask(ctx, "reading how long runs took", `
		SELECT e.at / 1000, CASE WHEN jobs.state = 'waiting' THEN -1 WHEN jobs.started_at > jobs.run_at THEN jobs.started_at - jobs.run_at ELSE 0 END,
			e.at - jobs.started_at
		FROM job_events e JOIN jobs ON jobs.id = e.job_id AND jobs.runs = e.run
		WHERE e.seq > ? AND e.at >= ? AND e.at < ? AND e.kind = 'settled' AND jobs.started_at IS NOT NULL ORDER BY e.seq DESC LIMIT ?`,
		func(rows *sql.Rows) error {
			var second, wait, took int64
			err := rows.Scan(&second, &wait, &took)
			out.Runs = append(out.Runs, numbers.Run{
				At: numbers.Second(second), Wait: time.Duration(wait) * time.Millisecond, Took: time.Duration(took) * time.Millisecond,
			})
			return err
		}, after, begin, end, numbers.MostRuns)
	return out, err
}

// count adds so many events of a kind, after which their jobs were in the state.
func count(r *numbers.Rates, kind job.EventKind, state job.State, n int64) {
	switch kind {
	case job.EventAccepted:
		r.Accepted += n
	case job.EventStarted:
		r.Started += n
	case job.EventSettled, job.EventResolved, job.EventCancelled, job.EventExpired, job.EventDied:
		switch state {
		case job.Done:
			r.Done += n
		case job.Failed:
			r.Failed += n
		case job.Waiting:
			r.Retried += n
		case job.Cancelled, job.Expired, job.Suppressed:
			r.Dropped += n
		}
	}
}
