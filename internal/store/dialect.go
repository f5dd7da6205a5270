package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// dialect is what differs between the two databases.
type dialect struct{ postgres bool }

// kind is the type of a column of values.
type kind string

const (
	text kind = "text"
	uid  kind = "uuid"
	num  kind = "bigint"
	flag kind = "boolean"
	blob kind = "bytea"
)

// sqliteVariables is SQLite's default bound on parameters of a statement.
const sqliteVariables = 32766

// table is a table of values, to be written into a statement as "{v}".
type table struct {
	names []string
	kinds []kind
	rows  [][]any
}

// columns begins a table: "id uuid, n bigint".
func columns(spec string) *table {
	t := &table{}
	for _, c := range strings.Split(spec, ",") {
		name, k, ok := strings.Cut(strings.TrimSpace(c), " ")
		if !ok {
			panic("store: bad column " + c) // a slip in this package
		}
		t.names = append(t.names, name)
		t.kinds = append(t.kinds, kind(k))
	}
	return t
}

func (t *table) add(row ...any) { t.rows = append(t.rows, row) }

// chunks cuts the table so that each part fits into one statement.
func (d dialect) chunks(t *table) []*table {
	most := len(t.rows)
	if !d.postgres {
		most = sqliteVariables/len(t.names) - 1
	}
	var out []*table
	for rows := t.rows; len(rows) > 0; {
		n := min(most, len(rows))
		out = append(out, &table{t.names, t.kinds, rows[:n]})
		rows = rows[n:]
	}
	return out
}

// render writes the table as a FROM item named v: on PostgreSQL arrays, so
// that the statement's text, and its plan, is the same for any number of rows;
// on SQLite, which has no arrays and prepares in-process, a list of rows.
func (d dialect) render(t *table) (string, []any) {
	if d.postgres {
		var b strings.Builder
		b.WriteString("unnest(")
		args := make([]any, len(t.names))
		for i, k := range t.kinds {
			if i > 0 {
				b.WriteString(", ")
			}
			if k == uid {
				b.WriteString("?::text[]::uuid[]")
			} else {
				fmt.Fprintf(&b, "?::%s[]", k)
			}
			args[i] = t.array(i)
		}
		fmt.Fprintf(&b, ") AS v(%s)", strings.Join(t.names, ", "))
		return b.String(), args
	}
	var b strings.Builder
	b.WriteString("(SELECT ")
	for i, name := range t.names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "column%d AS %s", i+1, name)
	}
	row := "(?" + strings.Repeat(",?", len(t.names)-1) + ")"
	b.WriteString(" FROM (VALUES " + row + strings.Repeat(","+row, len(t.rows)-1) + ")) AS v")
	args := make([]any, 0, len(t.rows)*len(t.names))
	for _, r := range t.rows {
		args = append(args, r...)
	}
	return b.String(), args
}

func (t *table) array(i int) any {
	switch t.kinds[i] {
	case num:
		out := make([]*int64, len(t.rows))
		for r, row := range t.rows {
			if n, ok := row[i].(int64); ok {
				out[r] = &n
			}
		}
		return out
	case flag:
		out := make([]bool, len(t.rows))
		for r, row := range t.rows {
			out[r] = row[i].(bool)
		}
		return out
	case blob:
		out := make([][]byte, len(t.rows))
		for r, row := range t.rows {
			out[r] = row[i].([]byte)
		}
		return out
	default:
		out := make([]*string, len(t.rows))
		for r, row := range t.rows {
			if s, ok := row[i].(string); ok {
				out[r] = &s
			}
		}
		return out
	}
}

// query fills in a statement: {v} the table of values, {now} the clock, {lock}
// the row lock of jobs; then the parameters as the database numbers them.
func (d dialect) query(q, now string, t *table, args []any) (string, []any) {
	lock := ""
	if d.postgres {
		lock = "FOR NO KEY UPDATE OF jobs"
	}
	q = strings.NewReplacer("{now}", now, "{lock}", lock).Replace(q)
	if before, after, ok := strings.Cut(q, "{v}"); ok {
		if strings.Contains(before, "?") {
			panic("store: parameters must follow {v}") // a slip in this package
		}
		v, values := d.render(t)
		q, args = before+v+after, append(values, args...)
	}
	if !d.postgres {
		return q, args
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, ok := strings.Cut(q, "?")
		b.WriteString(before)
		if !ok {
			return b.String(), args
		}
		b.WriteString("$" + strconv.Itoa(n))
		q = after
	}
}

// eventColumns are the columns of job_events that a writer fills.
const eventColumns = "job_id, at, kind, state, run, worker, actor, code, reply_code, message"

// telling is what a statement that changes jobs puts between its other WITH
// queries and itself to write their events too: events is the SELECT of
// eventColumns. That saves a statement and its values. SQLite knows no WITH
// query that writes: there it is nothing, and insertEvents must follow.
func (d dialect) telling(events string) string {
	if !d.postgres {
		return ""
	}
	return ", told AS (INSERT INTO job_events (" + eventColumns + ") " + events + ")"
}

// now is the clock as SQL. PostgreSQL's is that of the transaction. SQLite's
// is this process's own, which alone has the file.
func (s *Store) now() string {
	switch {
	case s.opts.Clock != nil:
		return strconv.FormatInt(s.opts.Clock().UnixMilli(), 10)
	case s.postgres:
		return "floor(extract(epoch FROM now()) * 1000)::bigint"
	default:
		return strconv.FormatInt(time.Now().UnixMilli(), 10)
	}
}

// ms is a time as it is stored: milliseconds, NULL for the zero time.
func ms(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func fromMS(n int64) time.Time { return time.UnixMilli(n).UTC() }

// orNull stores an empty id as NULL.
func orNull(id job.ID) any {
	if id == "" {
		return nil
	}
	return string(id)
}

// clean makes text that came from outside storable: PostgreSQL takes neither
// NUL nor broken UTF-8.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}
