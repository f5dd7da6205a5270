package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/tasks"
)

func recipientTable(p delivery.Person) *table {
	t := columns("recipient text")
	for _, r := range p.Recipients {
		t.add(clean(r))
	}
	return t
}

// ofPerson chooses a person's jobs, from a table of recipients.
const ofPerson = `FROM jobs WHERE recipient IN (SELECT v.recipient FROM {v}) AND recipient <> ''`

// CountPerson implements delivery.Eraser.
func (s *Store) CountPerson(ctx context.Context, p delivery.Person) (map[job.State]int, error) {
	out := map[job.State]int{}
	err := s.askOf(ctx, "counting a person's jobs", recipientTable(p), `SELECT state, count(*) `+ofPerson+` GROUP BY state`, func(rows *sql.Rows) error {
		var state job.State
		var n int
		err := rows.Scan(&state, &n)
		out[state] = n
		return err
	})
	return out, err
}

// UnreadFeedback implements delivery.Eraser.
func (s *Store) UnreadFeedback(ctx context.Context, until time.Time) (unread bool, err error) {
	err = s.ask(ctx, "looking for feedback that is not read", `
		SELECT 1 FROM jobs WHERE state = 'waiting' AND queue = ? AND type = ? AND created_at <= ?
		UNION ALL SELECT 1 FROM jobs WHERE state = 'running' AND type = ? AND created_at <= ? LIMIT 1`,
		func(rows *sql.Rows) error { unread = true; return rows.Scan(new(int)) },
		tasks.FeedbackReceive.Queue, tasks.FeedbackReceive.Name, until.UnixMilli(), tasks.FeedbackReceive.Name, until.UnixMilli())
	return unread, err
}

// UnfinishedOf implements delivery.Eraser.
func (s *Store) UnfinishedOf(ctx context.Context, p delivery.Person, limit int) (ids []job.ID, err error) {
	err = s.askOf(ctx, "listing what is unfinished", recipientTable(p),
		`SELECT id `+ofPerson+` AND state IN ('waiting', 'running', 'held') LIMIT ?`, scanIDs(&ids), limit)
	return ids, err
}

func scanIDs(out *[]job.ID) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var id job.ID
		err := rows.Scan(&id)
		*out = append(*out, id)
		return err
	}
}

// ErasePerson implements delivery.Eraser.
func (s *Store) ErasePerson(ctx context.Context, p delivery.Person, actor string, limit int) (n int, err error) {
	err = s.transact(ctx, "erase", func(x *tx) error {
		n = 0
		if err := x.erasePreferences(ctx, p); err != nil {
			return err
		}
		var ids []job.ID
		err := x.rows(ctx, recipientTable(p), `SELECT id `+ofPerson+` AND state NOT IN ('waiting', 'running', 'held') LIMIT ?`, scanIDs(&ids), limit)
		if err != nil || len(ids) == 0 {
			return err
		}
		jobs, now, err := x.lock(ctx, ids)
		if err != nil {
			return err
		}
		var over []job.ID
		var events []job.Event
		for _, j := range jobs {
			if j.State.Final() { // nobody retried it in between
				over = append(over, j.ID)
				events = append(events, job.Event{Job: j.ID, At: now, Kind: job.EventErased, State: j.State, Actor: actor})
			}
		}
		for _, q := range []string{
			`UPDATE jobs SET recipient = '', payload = NULL, message = '' WHERE id IN (SELECT v.id FROM {v})`,
			`UPDATE mails SET subject = '', subject_key = '' WHERE job_id IN (SELECT v.id FROM {v})`,
			`UPDATE job_events SET message = '' WHERE job_id IN (SELECT v.id FROM {v})`,
			`DELETE FROM digest_items WHERE job_id IN (SELECT v.id FROM {v})`,
		} {
			if err := x.exec(ctx, idTable(over), q); err != nil {
				return err
			}
		}
		n = len(over)
		if err := x.eraseFiles(ctx, over); err != nil {
			return err
		}
		return x.insertEvents(ctx, events)
	})
	return n, coded("erasing a person's jobs", err)
}

// erasePreferences forgets what the person prefers and what was gathered, by the
// address or as the user of that name. A category that was switched off stays so,
// as one that the person has unsubscribed from.
func (x *tx) erasePreferences(ctx context.Context, p delivery.Person) error {
	names := columns("name text")
	for _, r := range p.Recipients {
		names.add(clean(strings.TrimPrefix(r, "user:")))
	}
	var off []mail.Suppression
	ids := columns("id text")
	err := x.rows(ctx, names, `
		SELECT `+preferenceColumns+` FROM {v} JOIN preferences ON preferences.id = v.name OR preferences.address = v.name AND preferences.address <> ''`,
		func(rows *sql.Rows) error {
			found, err := scanPreferences(rows)
			ids.add(found.ID)
			for category, choice := range found.Categories {
				if choice == recipient.Off && found.Address != "" {
					off = append(off, mail.Suppression{Address: x.s.hashed(found.Address), Category: category, Reason: mail.Unsubscribe})
				}
			}
			return err
		})
	if err != nil {
		return err
	}
	if err := x.suppress(ctx, off); err != nil {
		return err
	}
	for _, t := range []*table{names, ids} {
		for _, q := range []string{
			`DELETE FROM digest_items WHERE recipient IN (SELECT * FROM {v})`,
			`DELETE FROM digests WHERE recipient IN (SELECT * FROM {v})`,
			`DELETE FROM preferences WHERE id IN (SELECT * FROM {v})`,
		} {
			if err := x.exec(ctx, t, q); err != nil {
				return err
			}
		}
	}
	return nil
}

// eraseFiles deletes the files that these jobs named and no other does that has
// its payload, or is just being accepted. Whoever is about to name one of them
// holds a lock on it: what they have written by then is seen.
func (x *tx) eraseFiles(ctx context.Context, ids []job.ID) error {
	named := columns("file text")
	seen := map[string]bool{}
	err := x.rows(ctx, idTable(ids), `DELETE FROM file_uses WHERE job_id IN (SELECT v.id FROM {v}) RETURNING file`,
		func(rows *sql.Rows) error {
			var file string
			err := rows.Scan(&file)
			if !seen[file] {
				seen[file] = true
				named.add(file)
			}
			return err
		})
	if err != nil {
		return err
	}
	if x.s.postgres { // SQLite has one writer
		locked := func(rows *sql.Rows) error { return rows.Scan(new(string)) }
		if err := x.rows(ctx, named, `SELECT id FROM files WHERE id IN (SELECT v.file FROM {v}) ORDER BY id FOR UPDATE`, locked); err != nil {
			return err
		}
	}
	gone := columns("file text")
	err = x.rows(ctx, named, `
		DELETE FROM files WHERE id IN (SELECT v.file FROM {v}) AND NOT EXISTS (
			SELECT 1 FROM file_uses u LEFT JOIN jobs ON jobs.id = u.job_id
			WHERE u.file = files.id AND (jobs.id IS NULL OR jobs.payload IS NOT NULL))
		RETURNING id`,
		func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			gone.add(id)
			return err
		})
	if err != nil {
		return err
	}
	return x.exec(ctx, gone, `DELETE FROM file_chunks WHERE file IN (SELECT v.file FROM {v})`)
}
