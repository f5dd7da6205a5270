package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
)

var _ delivery.Store = (*Store)(nil)

// mailColumns are a delivery.Mail's columns as scanMail reads them, of jobs
// joined with mails.
const mailColumns = jobColumns + `, COALESCE(mails.subject, ''), COALESCE(mails.template, ''), COALESCE(mails.category, '')`

func scanMail(rows *sql.Rows, more ...any) (m delivery.Mail, err error) {
	m.Job, err = scanJob(rows, append([]any{&m.Subject, &m.Template, &m.Category}, more...)...)
	return m, err
}

// Search implements delivery.Store.
func (s *Store) Search(ctx context.Context, q delivery.Query) ([]delivery.Mail, error) {
	frequent := false
	if q.Subject != "" && len(q.Recipients) == 0 {
		var err error
		if frequent, err = s.frequent(ctx, q.Subject); err != nil {
			return nil, err
		}
	}
	text, args, err := searchText(q, frequent)
	if err != nil {
		return nil, err
	}
	var out []delivery.Mail
	err = s.ask(ctx, "searching mails", text, func(rows *sql.Rows) error {
		m, err := scanMail(rows)
		out = append(out, m)
		return err
	}, args...)
	return out, err
}

// mostSorted is how many mails of a subject are sorted to find the newest. Where
// there are more it is quicker to look at the newest of all mails until a page has
// the subject.
const mostSorted = 5000

// frequent reports whether more mails than that have a subject which begins so.
func (s *Store) frequent(ctx context.Context, subject string) (bool, error) {
	n := 0
	key, end := subjectSpan(subject)
	err := s.ask(ctx, "counting mails of a subject", `
		SELECT count(*) FROM (SELECT 1 FROM mails WHERE subject_key >= ? AND subject_key < ? AND subject_key <> '' LIMIT ?) AS found`,
		func(rows *sql.Rows) error { return rows.Scan(&n) }, key, end, mostSorted+1)
	return n > mostSorted, err
}

// subjectSpan is from where up to where the keys are of subjects that begin so. In
// the order of bytes nothing of the kind is behind it with the last character that
// there is.
func subjectSpan(subject string) (from, to string) {
	key := subjectKey(subject)
	return key, key + "\U0010FFFF"
}

// searchText writes a query as SQL: first the ids of one page, by an index that
// has them in their order or holds few, and only then the rows. Ids are in the
// order of time, so that a span of time is one of ids. The subject's index is of
// use where that is not frequent.
func searchText(q delivery.Query, frequent bool) (text string, args []any, err error) {
	var where []string
	and := func(cond string, v ...any) { where, args = append(where, cond), append(args, v...) }
	from, id := "mails", "mails.job_id"
	ofJob := len(q.Recipients) > 0 || q.Status != ""
	ofMail := q.Subject != "" || q.Template != "" || q.Category != ""
	switch {
	case len(q.Recipients) > 0:
		from, id = "jobs", "jobs.id"
		marks := make([]any, len(q.Recipients))
		for i, r := range q.Recipients {
			marks[i] = clean(r)
		}
		and("jobs.recipient IN (?"+strings.Repeat(", ?", len(marks)-1)+") AND jobs.recipient <> ''", marks...)
	case ofJob && !ofMail && slices.Contains(troubled, job.State(q.Status)):
		from, id = "jobs JOIN mails ON mails.job_id = jobs.id", "jobs.id"
	case ofJob:
		from = "mails JOIN jobs ON jobs.id = mails.job_id"
	}
	if q.Status != "" {
		status, _, err := conditions(job.Filter{Status: q.Status})
		if err != nil {
			return "", nil, err
		}
		if len(q.Recipients) > 0 { // whose index is the better one
			status = strings.Replace(status, troubledWords, "TRUE", 1)
		}
		and(status)
	}
	var mail []string // conditions on what describes a mail
	ofMails := func(cond string, v ...any) { mail, args = append(mail, cond), append(args, v...) }
	if q.Subject != "" {
		from, to := subjectSpan(q.Subject)
		if frequent { // an expression has no index
			ofMails("COALESCE(mails.subject_key, '') >= ? AND COALESCE(mails.subject_key, '') < ?", from, to)
		} else {
			ofMails("mails.subject_key >= ? AND mails.subject_key < ? AND mails.subject_key <> ''", from, to)
		}
	}
	if q.Template != "" {
		ofMails("mails.template = ? AND mails.template <> ''", clean(q.Template))
	}
	if q.Category != "" {
		ofMails("mails.category = ? AND mails.category <> ''", clean(q.Category))
	}
	if len(q.Recipients) > 0 && ofMail {
		// Asked of one mail of the person's after the other until the page is full,
		// which OFFSET has PostgreSQL not turn into a join with all of them.
		mail = []string{"EXISTS (SELECT 1 FROM mails WHERE mails.job_id = jobs.id AND " + strings.Join(mail, " AND ") + " LIMIT 1 OFFSET 0)"}
	}
	where = append(where, mail...)
	// A bound is of both tables where two are joined: PostgreSQL draws no conclusion
	// from one to the other, and would merge them from the newest row of one on.
	bound := func(op, at string) {
		for _, column := range []string{"jobs.id", "mails.job_id"} {
			if column == id || strings.Contains(from, "JOIN") {
				and(column+op, at)
			}
		}
	}
	if !q.Since.IsZero() {
		bound(" >= ?", string(job.IDFrom(q.Since)))
	}
	if !q.Until.IsZero() {
		bound(" < ?", string(job.IDFrom(q.Until)))
	}
	if q.Before != "" {
		before, err := job.ParseID(string(q.Before))
		if err != nil {
			return "", nil, job.Errorf(job.CodeInvalid, "the cursor is not one that this search gave")
		}
		bound(" < ?", string(before))
	}
	if len(where) == 0 {
		where = append(where, "TRUE")
	}
	return "SELECT " + mailColumns + " FROM (SELECT " + id + " AS id FROM " + from + " WHERE " + strings.Join(where, " AND ") +
		" ORDER BY " + id + " DESC LIMIT ?) AS found JOIN jobs ON jobs.id = found.id LEFT JOIN mails ON mails.job_id = found.id" +
		" ORDER BY jobs.id DESC", append(args, q.Limit), nil
}

// FindMail implements delivery.Store.
func (s *Store) FindMail(ctx context.Context, id job.ID) (delivery.Mail, error) {
	var found *delivery.Mail
	err := s.ask(ctx, "finding a mail", "SELECT "+mailColumns+", jobs.payload FROM jobs LEFT JOIN mails ON mails.job_id = jobs.id WHERE jobs.id = ?",
		func(rows *sql.Rows) error {
			var payload sql.NullString
			m, err := scanMail(rows, &payload)
			if payload.Valid {
				m.Payload = []byte(payload.String)
			}
			found = &m
			return err
		}, string(id))
	switch {
	case err != nil:
		return delivery.Mail{}, err
	case found == nil:
		return delivery.Mail{}, job.Errorf(job.CodeNotFound, "no job has the id %q", string(id))
	}
	return *found, nil
}

// EventsOf implements delivery.Store.
func (s *Store) EventsOf(ctx context.Context, ids []job.ID, kinds []job.EventKind) ([]job.Event, error) {
	var out []job.Event
	args := make([]any, len(kinds))
	for i, k := range kinds {
		args[i] = string(k)
	}
	for _, part := range s.chunks(idTable(ids)) {
		err := s.askOf(ctx, "reading what came back", part, `
			SELECT e.seq, e.job_id, e.at, e.kind, e.state, e.run, e.worker, e.actor, e.code, e.reply_code, e.message
			FROM {v} JOIN job_events e ON e.job_id = v.id WHERE e.kind IN (?`+strings.Repeat(", ?", len(kinds)-1)+`) ORDER BY e.seq`,
			scanEvents(&out), args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// scanEvents reads the columns of job_events into out.
func scanEvents(out *[]job.Event) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var e job.Event
		var at int64
		err := rows.Scan(&e.Seq, &e.Job, &at, &e.Kind, &e.State, &e.Run, &e.Worker, &e.Actor, &e.Code, &e.ReplyCode, &e.Message)
		e.At = fromMS(at)
		*out = append(*out, e)
		return err
	}
}

// CountMinutes implements delivery.Minutes.
func (s *Store) CountMinutes(ctx context.Context, o delivery.Objective, back time.Duration) error {
	within := o.Within.Milliseconds()
	err := s.transact(ctx, "count_minutes", func(x *tx) error {
		var from, to int64
		err := x.rows(ctx, nil, `
			SELECT {now} / 60000, COALESCE((SELECT max(minute) + 1 FROM objective_minutes WHERE category = ?), 0)`,
			func(rows *sql.Rows) error { return rows.Scan(&to, &from) }, o.Category)
		if err != nil {
			return err
		}
		from = max(from, to-int64(back/time.Minute))
		if from >= to {
			return nil
		}
		return x.exec(ctx, nil, `
			INSERT INTO objective_minutes (category, minute, total, good)
			SELECT mails.category, (mails.due_at + ?) / 60000, count(*),
				sum(CASE WHEN jobs.state = 'done' AND jobs.finished_at <= mails.due_at + ? THEN 1 ELSE 0 END)
			FROM mails JOIN jobs ON jobs.id = mails.job_id
			WHERE mails.category = ? AND mails.category <> '' AND mails.due_at >= ? AND mails.due_at < ?
				AND jobs.state NOT IN ('cancelled', 'suppressed') AND NOT (jobs.state = 'failed' AND jobs.code = 'permanent')
			GROUP BY 1, 2
			ON CONFLICT (category, minute) DO NOTHING`,
			within, within, o.Category, from*60000-within, to*60000-within)
	})
	return coded("counting mails by their objective", err)
}

// AttainedSince implements delivery.Minutes.
func (s *Store) AttainedSince(ctx context.Context, category string, back time.Duration) (a delivery.Attained, err error) {
	err = s.ask(ctx, "summing up an objective", `
		SELECT COALESCE(sum(total), 0), COALESCE(sum(good), 0) FROM objective_minutes
		WHERE category = ? AND minute >= ({now} - ?) / 60000`,
		func(rows *sql.Rows) error { return rows.Scan(&a.Total, &a.Good) }, category, back.Milliseconds())
	return a, err
}
