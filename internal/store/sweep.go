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
// says which, so that no new one is forgotten. The audit names nobody whom an
// erasure is about (see auditName), and cannot be changed.
func (s *Store) relations(ctx context.Context) (out []relation, err error) {
	q := `SELECT m.name, p.name, lower(p.type), p.pk FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT IN ('goose_db_version', 'audit') ORDER BY m.name, p.pk, p.cid`
	if s.postgres {
		q = `SELECT c.table_name, c.column_name, c.data_type, COALESCE(k.ordinal_position, 0) FROM information_schema.columns c
			LEFT JOIN information_schema.table_constraints t ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY'
			LEFT JOIN information_schema.key_column_usage k ON k.constraint_schema = t.constraint_schema AND k.constraint_name = t.constraint_name AND k.column_name = c.column_name
			WHERE c.table_schema = current_schema() AND c.table_name NOT IN ('goose_db_version', 'audit') ORDER BY c.table_name, 4, c.ordinal_position`
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
	last, changed, err := s.sweep(ctx, p, r, from.Key, limit)
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
// key of the last, nil at the table's end. Nothing is locked while rows are read:
// those that may give the person away are read again where they are changed.
func (s *Store) sweep(ctx context.Context, p delivery.Person, r relation, after []string, limit int) (last []string, changed int, err error) {
	q, err := newQuotes(p)
	if err != nil {
		return nil, 0, err
	}
	suspects := newSuspects(p)
	isFeedback := func(texts map[string]string) bool {
		return r.name == "jobs" && texts["type"] == tasks.FeedbackReceive.Name
	}
	var found [][]string // keys
	n := 0
	behind, args := "TRUE", []any{}
	if after != nil {
		behind, args = r.tuple()+" > "+r.marks(), anys(after)
	}
	err = s.ask(ctx, "reading "+r.name, "SELECT "+r.shown()+" FROM "+r.name+" WHERE "+behind+" ORDER BY "+strings.Join(r.keyNames(), ", ")+" LIMIT ?",
		func(rows *sql.Rows) error {
			key, texts, err := r.scan(rows)
			n, last = n+1, key
			suspect := false
			for _, text := range texts {
				suspect = suspect || suspects.in(text)
			}
			if isFeedback(texts) { // in which mails are, and webhooks, as they came
				suspect = suspect || q.erase(texts["payload"]) != texts["payload"]
			}
			if suspect {
				found = append(found, key)
			}
			return err
		}, append(args, limit)...)
	if err != nil {
		return nil, 0, err
	}
	if n < limit {
		last = nil
	}
	if len(found) == 0 {
		return last, 0, nil
	}
	return last, changed, s.transact(ctx, "sweep", func(x *tx) error {
		changed = 0
		for _, key := range found {
			theirs, err := x.scrub(ctx, p, q, r, key)
			if err != nil {
				return err
			}
			if theirs {
				changed++
			}
		}
		return nil
	})
}

// keyNames are the columns of the key, tuple the key as one value, marks the place
// of one among parameters.
func (r relation) keyNames() (names []string) {
	for _, c := range r.key {
		names = append(names, c.name)
	}
	return names
}

func (r relation) tuple() string { return "(" + strings.Join(r.keyNames(), ", ") + ")" }

func (r relation) marks() string {
	marks := make([]string, len(r.key))
	for i, c := range r.key {
		marks[i] = "CAST(? AS " + c.kind + ")"
	}
	return "(" + strings.Join(marks, ", ") + ")"
}

// shown is what scan reads: the key and the texts.
func (r relation) shown() string {
	var out []string
	for _, c := range r.key {
		out = append(out, "CAST("+c.name+" AS TEXT)")
	}
	return strings.Join(append(out, r.texts...), ", ")
}

func (r relation) scan(rows *sql.Rows) (key []string, texts map[string]string, err error) {
	row := make([]sql.NullString, len(r.key)+len(r.texts))
	if err := rows.Scan(pointers(row)...); err != nil {
		return nil, nil, err
	}
	for _, k := range row[:len(r.key)] {
		key = append(key, k.String)
	}
	texts = make(map[string]string, len(r.texts))
	for i, c := range r.texts {
		texts[c] = row[len(r.key)+i].String
	}
	return key, texts, nil
}

// errUnread stops a sweep at feedback about the person that is still to be taken
// in: it may be why the address is to get no mail.
var errUnread = errors.New("feedback about the person is still to be read")

// scrub takes the person out of the row of a key, unless what was found there is
// part of another's address.
func (x *tx) scrub(ctx context.Context, p delivery.Person, q quotes, r relation, key []string) (theirs bool, err error) {
	where := r.tuple() + " = " + r.marks()
	var old map[string]string
	lock := ""
	if x.s.postgres {
		lock = " FOR UPDATE"
	}
	err = x.rows(ctx, nil, "SELECT "+r.shown()+" FROM "+r.name+" WHERE "+where+lock, func(rows *sql.Rows) (err error) {
		_, old, err = r.scan(rows)
		return err
	}, anys(key)...)
	if err != nil || old == nil { // it has gone
		return false, err
	}
	whole := slices.Contains(personal, r.name)
	var sets []string
	var args []any
	for _, c := range r.texts {
		replaced := q.erase(old[c])
		switch {
		case r.name == "idempotency_keys": // made up by the caller in any way, and soon over
			replaced = q.any.ReplaceAllString(replaced, delivery.Erased)
		case r.name == "suppressions" && c == "address" && strings.EqualFold(old[c], p.Address):
			return true, x.keepHashed(ctx, p.Address, old["category"], old["reason"])
		case r.name == "chat_messages" && c == "words" && q.erase(old["body"]) != old["body"]:
			replaced = "" // those of an address are apart
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
		return true, x.exec(ctx, nil, "DELETE FROM "+r.name+" WHERE "+where, anys(key)...)
	}
	return true, x.exec(ctx, nil, "UPDATE "+r.name+" SET "+strings.Join(sets, ", ")+" WHERE "+where, append(args, anys(key)...)...)
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
