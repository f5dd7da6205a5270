package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// query asks the database, past Postrider and its proxies. It asks again while
// the database is away; row is given each row's Scan.
func (h *harness) query(text string, row func(scan func(...any) error) error, args ...any) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := h.ask(text, row, args...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("asking the database: %v: %s", err, text)
		}
		h.pause(100 * time.Millisecond)
	}
}

func (h *harness) ask(text string, row func(scan func(...any) error) error, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := h.db.QueryContext(ctx, text, args...)
	if err != nil {
		return fmt.Errorf("querying: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return fmt.Errorf("reading a row: %w", err)
		}
	}
	return rows.Err()
}

// count asks for one number.
func (h *harness) count(text string, args ...any) int {
	h.t.Helper()
	var n sql.NullInt64
	h.query(text, func(scan func(...any) error) error { return scan(&n) }, args...)
	return int(n.Int64)
}

// ids asks for the ids of jobs.
func (h *harness) ids(text string, args ...any) []string {
	h.t.Helper()
	var out []string
	h.query(text, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		out = append(out, id)
		return err
	}, args...)
	return out
}

// tally asks for a number by job.
func (h *harness) tally(text string, args ...any) map[string]int {
	h.t.Helper()
	out := map[string]int{}
	h.query(text, func(scan func(...any) error) error {
		var id string
		var n int
		err := scan(&id, &n)
		out[id] = n
		return err
	}, args...)
	return out
}
