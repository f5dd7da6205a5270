package store

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/job"
)

const (
	maxSubject    = 200 // bytes of a subject that are kept for people
	maxSubjectKey = 80  // bytes that it is found by
)

// aboutColumns is what about returns, as columns.
const aboutColumns = "described boolean, subject text, subject_key text, template text, category text, sink boolean"

// about is what describes a job.
func about(n job.New) []any {
	return []any{!n.About.Empty(), clip(clean(n.About.Subject), maxSubject), subjectKey(n.About.Subject), clean(n.About.Template), clean(n.About.Category), n.About.Sink}
}

// subjectKey is the beginning of a subject as it is compared: in lower case,
// with single spaces.
func subjectKey(subject string) string {
	if len(subject) > 4*maxSubjectKey {
		subject = clip(subject, 4*maxSubjectKey)
	}
	return clip(strings.ToLower(strings.Join(strings.Fields(clean(subject)), " ")), maxSubjectKey)
}

// clip shortens text to n bytes, at the beginning of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func describes(reqs []job.Request) bool {
	return slices.ContainsFunc(reqs, func(r job.Request) bool {
		return slices.ContainsFunc(r.Jobs, func(n job.New) bool { return !n.About.Empty() })
	})
}

// A mail for the sink is due at no time, so that no objective counts it.

// describing stands between the queries given and written of PostgreSQL's
// statement that accepts jobs, and what follows them.
const describing = `, described AS (
	INSERT INTO mails (job_id, subject, subject_key, template, category, due_at)
	SELECT given.id, given.subject, given.subject_key, given.template, given.category, CASE WHEN given.sink THEN 0 ELSE written.due_at END
	FROM given JOIN written ON written.id = given.id WHERE given.described)`

// describe writes what describes the requests' jobs, once those are there.
func (x *tx) describe(ctx context.Context, reqs []job.Request) error {
	t := columns("id uuid, " + aboutColumns)
	for _, r := range reqs {
		for _, n := range r.Jobs {
			if !n.About.Empty() {
				t.add(append([]any{string(n.ID)}, about(n)...)...)
			}
		}
	}
	return x.exec(ctx, t, `
		INSERT INTO mails (job_id, subject, subject_key, template, category, due_at)
		SELECT v.id, v.subject, v.subject_key, v.template, v.category, CASE WHEN v.sink THEN 0 ELSE jobs.due_at END FROM {v} JOIN jobs ON jobs.id = v.id WHERE true
		ON CONFLICT (job_id) DO NOTHING`)
}
