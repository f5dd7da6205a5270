package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// relation is a table of the schema as a sweep sees it.
type relation struct {
	name  string
	key   []column // the primary key
	texts []string
}

type column struct{ name, kind string }

// personal are the tables whose rows are about one person: what gives that
// person away goes as a whole. Of schedules see unlist.
var personal = []string{"streams", "idempotency_keys", "preferences", "digests", "digest_items"}

// relations lists every table that has text in it, by name: the schema itself
// says which, so that no new one is forgotten.
func (s *Store) relations(ctx context.Context) (out []relation, err error) {
	q := `SELECT m.name, p.name, lower(p.type), p.pk FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version' ORDER BY m.name, p.pk, p.cid`
	if s.postgres {
		q = `SELECT c.table_name, c.column_name, c.data_type, COALESCE(k.ordinal_position, 0) FROM information_schema.columns c
			LEFT JOIN information_schema.table_constraints t ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY'
			LEFT JOIN information_schema.key_column_usage k ON k.constraint_schema = t.constraint_schema AND k.constraint_name = t.constraint_name AND k.column_name = c.column_name
			WHERE c.table_schema = current_schema() AND c.table_name <> 'goose_db_version' ORDER BY c.table_name, 4, c.ordinal_position`
	}
	err = s.ask(ctx, "reading the schema", q, func(rows *sql.Rows) error {
		var name, col, kind string
		var key int
		if err := rows.Scan(&name, &col, &kind, &key); err != nil {
			return err
		}
		if len(out) == 0 || out[len(out)-1].name != name {
			out = append(out, relation{name: name})
		}
		r := &out[len(out)-1]
		if key > 0 {
			r.key = append(r.key, column{col, kind})
		}
		if kind == "text" {
			r.texts = append(r.texts, col)
		}
		return nil
	})
	return slices.DeleteFunc(out, func(r relation) bool { return len(r.texts) == 0 || len(r.key) == 0 }), err
}

// place is where a sweep goes on: behind the row of that key.
type place struct {
	Table string   `json:"t"`
	Key   []string `json:"k,omitempty"`
}

// Sweep implements delivery.Eraser.
func (s *Store) Sweep(ctx context.Context, p delivery.Person, at string, limit int) (next string, changed int, err error) {
	all, err := s.relations(ctx)
	if err != nil {
		return "", 0, err
	}
	var from place
	if at != "" {
		if err := json.Unmarshal([]byte(at), &from); err != nil {
			return "", 0, job.Errorf(job.CodeInvalid, "the cursor is not one that this gave")
		}
	}
	i := slices.IndexFunc(all, func(r relation) bool { return r.name >= from.Table })
	if i < 0 {
		return "", 0, nil
	}
	r := all[i]
	if r.name != from.Table || len(from.Key) != len(r.key) {
		from = place{Table: r.name}
	}
	var last []string
	err = s.transact(ctx, "sweep", func(x *tx) (err error) {
		last, changed, err = x.sweep(ctx, p, r, from.Key, limit)
		return err
	})
	switch {
	case errors.Is(err, errUnread):
		return at, 0, nil
	case err != nil:
		return "", 0, coded("looking for quotes in "+r.name, err)
	}
	from.Key = last
	if last == nil {
		if i++; i == len(all) {
			return "", changed, nil
		}
		from = place{Table: all[i].name}
	}
	text, err := json.Marshal(from)
	return string(text), changed, err
}

// sweep goes through at most limit rows behind the key after, and returns the
// key of the last, nil at the table's end.
func (x *tx) sweep(ctx context.Context, p delivery.Person, r relation, after []string, limit int) (last []string, changed int, err error) {
	keys, shown := make([]string, len(r.key)), make([]string, len(r.key))
	marks := make([]string, len(r.key))
	for i, c := range r.key {
		keys[i] = c.name
		shown[i] = "CAST(" + c.name + " AS TEXT)"
		marks[i] = "CAST(? AS " + c.kind + ")"
	}
	key, mark := "("+strings.Join(keys, ", ")+")", "("+strings.Join(marks, ", ")+")"
	behind, args := "TRUE", []any{}
	if after != nil {
		behind, args = key+" > "+mark, anys(after)
	}
	down := strings.Join(keys, " DESC, ") + " DESC"
	err = x.rows(ctx, nil, "SELECT "+strings.Join(shown, ", ")+" FROM (SELECT "+strings.Join(keys, ", ")+" FROM "+r.name+
		" WHERE "+behind+" ORDER BY "+strings.Join(keys, ", ")+" LIMIT ?) AS page ORDER BY "+down+" LIMIT 1",
		func(rows *sql.Rows) error {
			last = make([]string, len(r.key))
			return rows.Scan(pointers(last)...)
		}, append(slices.Clone(args), limit)...)
	if err != nil || last == nil {
		return nil, 0, err
	}
	suspect, more := newSuspects(p).where(x.s.dialect, r)
	args = append(append(args, anys(last)...), more...)
	var found [][]sql.NullString
	err = x.rows(ctx, nil, "SELECT "+strings.Join(append(shown, r.texts...), ", ")+" FROM "+r.name+
		" WHERE "+behind+" AND "+key+" <= "+mark+" AND "+suspect,
		func(rows *sql.Rows) error {
			row := make([]sql.NullString, len(r.key)+len(r.texts))
			found = append(found, row)
			return rows.Scan(pointers(row)...)
		}, args...)
	if err != nil {
		return nil, 0, err
	}
	q, err := newQuotes(p)
	if err != nil {
		return nil, 0, err
	}
	for _, row := range found {
		theirs, err := x.scrub(ctx, p, q, r, key+" = "+mark, row)
		if err != nil {
			return nil, 0, err
		}
		if theirs {
			changed++
		}
	}
	return last, changed, nil
}

// errUnread stops a sweep at feedback about the person that is still to be taken
// in: it may be why the address is to get no mail.
var errUnread = errors.New("feedback about the person is still to be read")

// scrub takes the person out of one row, unless what was found there is part of
// another's address.
func (x *tx) scrub(ctx context.Context, p delivery.Person, q quotes, r relation, where string, row []sql.NullString) (theirs bool, err error) {
	var key []any
	for _, k := range row[:len(r.key)] {
		key = append(key, k.String)
	}
	whole := slices.Contains(personal, r.name)
	var sets []string
	var args []any
	old := make(map[string]string, len(r.texts))
	for i, c := range r.texts {
		old[c] = row[len(r.key)+i].String
	}
	for _, c := range r.texts {
		replaced := q.erase(old[c])
		switch {
		case r.name == "idempotency_keys": // made up by the caller in any way, and soon over
			replaced = q.any.ReplaceAllString(replaced, delivery.Erased)
		case r.name == "suppressions" && c == "address" && strings.EqualFold(old[c], p.Address):
			return true, x.keepHashed(ctx, p.Address, old["category"], old["reason"])
		case r.name == "schedules" && c == "payload" && replaced != old[c]:
			var alone bool
			replaced, alone = q.unlist(old[c])
			whole = whole || alone
		}
		if replaced == old[c] {
			continue
		}
		if slices.ContainsFunc(r.key, func(k column) bool { return k.name == c }) {
			whole = true
		}
		sets, args = append(sets, c+" = ?"), append(args, replaced)
	}
	switch {
	case len(sets) == 0:
		return false, nil
	case r.name == "jobs" && old["type"] == tasks.FeedbackReceive.Name && slices.Contains([]job.State{job.Waiting, job.Running}, job.State(old["state"])):
		return false, errUnread
	case whole:
		return true, x.exec(ctx, nil, "DELETE FROM "+r.name+" WHERE "+where, key...)
	}
	return true, x.exec(ctx, nil, "UPDATE "+r.name+" SET "+strings.Join(sets, ", ")+" WHERE "+where, append(args, key...)...)
}

func anys(texts []string) []any {
	out := make([]any, len(texts))
	for i, s := range texts {
		out[i] = s
	}
	return out
}

func pointers[T any](all []T) []any {
	out := make([]any, len(all))
	for i := range all {
		out[i] = &all[i]
	}
	return out
}
