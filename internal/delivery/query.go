package delivery

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/tasks"
)

// Read makes of what somebody typed the search that was meant: a job's id or a
// mail's Message-ID names one job, which is returned; a mail address or the name
// of a stream is a recipient; anything else is how a subject begins.
func Read(text string) (q Query, id job.ID) {
	text = strings.TrimSpace(text)
	if text == "" {
		return q, ""
	}
	bare := strings.Trim(text, "<>")
	local, _, _ := strings.Cut(bare, "@") // a Message-ID is made from the job's id
	if id, err := job.ParseID(local); err == nil {
		return q, id
	}
	if isStream(text) || strings.Contains(text, "@") && !strings.ContainsAny(bare, " \t") {
		q.Recipients = Forms(text)
		return q, ""
	}
	q.Subject = text
	return q, ""
}

// Forms are the ways in which jobs may keep a recipient: a stream as it is, a
// mail address in lower case, its domain as it was given or in ASCII.
func Forms(recipient string) []string {
	recipient = strings.TrimSpace(recipient)
	if isStream(recipient) {
		return []string{recipient}
	}
	lower := strings.ToLower(strings.Trim(recipient, "<>"))
	out := []string{lower}
	if normal, err := mail.Normalise(lower); err == nil && normal != lower {
		out = append(out, normal)
	}
	return out
}

func isStream(s string) bool {
	return s == "everyone" || strings.HasPrefix(s, "user:") || strings.HasPrefix(s, "room:")
}

// statuses are the values of Query.Status.
var statuses = []string{
	"scheduled", "queued", "retrying", "waiting", "running", "held", "done", "failed", "cancelled", "expired", "suppressed",
}

func (q Query) check() error {
	var bad tasks.Invalid
	if q.Limit < 1 || q.Limit > MaxPage {
		bad.Add("limit", fmt.Sprintf("must be from 1 to %d", MaxPage))
	}
	if q.Status != "" && !slices.Contains(statuses, q.Status) {
		bad.Add("state", fmt.Sprintf("must be one of %v", statuses))
	}
	texts := map[string]string{"subject": q.Subject, "template": q.Template, "category": q.Category}
	for _, r := range q.Recipients {
		texts["recipient"] = r
	}
	for field, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) { // what PostgreSQL refuses
			bad.Add(field, "must be UTF-8 without NUL")
		}
	}
	if err := bad.OrNil(); err != nil {
		return job.Invalid(err)
	}
	return nil
}
