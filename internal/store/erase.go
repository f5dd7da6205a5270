package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
)

// hashed stands for the address of an erased person who is to get no mail.
func hashed(address string) string {
	sum := sha256.Sum256([]byte(address))
	return "sha256:" + hex.EncodeToString(sum[:])
}

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
			`DELETE FROM notifications WHERE id IN (SELECT v.id FROM {v})`,
		} {
			if err := x.exec(ctx, idTable(over), q); err != nil {
				return err
			}
		}
		n = len(over)
		return x.insertEvents(ctx, events)
	})
	return n, coded("erasing a person's jobs", err)
}
