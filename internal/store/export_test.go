package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/postrider/postrider/internal/delivery"
)

// ClaimsWaiting is how many claims no transaction has taken yet.
func (s *Store) ClaimsWaiting() int { return len(s.claims.in) }

// ExplainSearch is the plan of a search, a line a step.
func (s *Store) ExplainSearch(ctx context.Context, q delivery.Query) (string, error) {
	text, args, err := searchText(q)
	if err != nil {
		return "", err
	}
	return s.explain(ctx, text, args...)
}

func (s *Store) explain(ctx context.Context, text string, args ...any) (string, error) {
	how := "EXPLAIN QUERY PLAN "
	if s.postgres {
		how = "EXPLAIN "
	}
	var plan strings.Builder
	err := s.ask(ctx, "explaining", how+text, func(rows *sql.Rows) error {
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
