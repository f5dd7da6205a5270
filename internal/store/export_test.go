package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

// ClaimsWaiting is how many claims no transaction has taken yet.
func (s *Store) ClaimsWaiting() int { return len(s.claims.in) }

// ExplainSearch is the plan of a search, a line a step.
func (s *Store) ExplainSearch(ctx context.Context, q delivery.Query) (string, error) {
	frequent, err := s.frequent(ctx, q.Subject)
	if err != nil {
		return "", err
	}
	text, args, err := searchText(q, q.Subject != "" && frequent)
	if err != nil {
		return "", err
	}
	return s.explain(ctx, nil, text, args...)
}

// ExplainList is the plan of List.
func (s *Store) ExplainList(ctx context.Context, f job.Filter) (string, error) {
	text, args, err := listText(f)
	if err != nil {
		return "", err
	}
	return s.explain(ctx, nil, text, args...)
}

// ExplainState is the plan of inbox.Store.State's counts.
func (s *Store) ExplainState(ctx context.Context, v inbox.Viewer) (string, error) {
	return s.explain(ctx, streamsOf(v), stateText)
}

// ExplainPage is the plan of inbox.Store.Page.
func (s *Store) ExplainPage(ctx context.Context, q inbox.PageQuery) (plan string, err error) {
	for _, part := range pageParts(q) {
		more, err := s.explain(ctx, nil, part.text, append(part.args, q.Limit)...)
		if err != nil {
			return "", err
		}
		plan += more
	}
	return plan, nil
}

func (s *Store) explain(ctx context.Context, t *table, text string, args ...any) (string, error) {
	how := "EXPLAIN QUERY PLAN "
	if s.postgres {
		how = "EXPLAIN "
	}
	var plan strings.Builder
	err := s.askOf(ctx, "explaining", t, how+text, func(rows *sql.Rows) error {
		var id, parent, unused int
		var line string
		into := []any{&line}
		if !s.postgres {
			into = []any{&id, &parent, &unused, &line}
		}
		err := rows.Scan(into...)
		plan.WriteString(line + "\n")
		return err
	}, args...)
	return plan.String(), err
}

// PlansByID are the plans, a line a step, by which the sessions of the byID pool
// carry out the lone statements of claims, fences and outcomes.
func (s *Store) PlansByID(ctx context.Context) (map[string]string, error) {
	id := job.NewID()
	plans := map[string]string{}
	for name, run := range map[string]func(*tx) error{
		"claim": func(x *tx) error { _, err := s.grantAlone(ctx, x, []job.Claim{{ID: id}}); return err },
		"fence": func(x *tx) error { _, err := s.commitNoReturns(ctx, x, []job.RunRef{{ID: id}}); return err },
		"outcome": func(x *tx) error {
			_, err := s.settleAlone(ctx, x, []job.Settlement{{RunRef: job.RunRef{ID: id}}})
			return err
		},
	} {
		seen := &overheard{}
		if err := run(&tx{querier: seen, s: s, now: s.now(), until: time.Now().Add(time.Minute)}); !errors.Is(err, errOverheard) {
			return nil, err
		}
		plan, err := s.planByID(ctx, seen)
		if err != nil {
			return nil, err
		}
		plans[name] = plan
	}
	return plans, nil
}

func (s *Store) planByID(ctx context.Context, q *overheard) (string, error) {
	conn, err := s.byID.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PREPARE overheard AS "+q.text); err != nil {
		return "", err
	}
	defer conn.ExecContext(ctx, "DEALLOCATE overheard")
	rows, err := conn.QueryContext(ctx, "EXPLAIN (VERBOSE) EXECUTE overheard("+strings.TrimSuffix(strings.Repeat("NULL,", q.args), ",")+")")
	var plan strings.Builder
	err = each(rows, err, func(rows *sql.Rows) error {
		var line string
		err := rows.Scan(&line)
		plan.WriteString(line + "\n")
		return err
	})
	return plan.String(), err
}

var errOverheard = errors.New("overheard, and not carried out")

// overheard is a querier that notes a statement.
type overheard struct {
	text string
	args int
}

func (o *overheard) QueryContext(_ context.Context, q string, args ...any) (*sql.Rows, error) {
	o.text, o.args = q, len(args)
	return nil, errOverheard
}

func (o *overheard) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return nil, errors.New("a lone statement tells what it did")
}
