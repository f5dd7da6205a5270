package dashboard

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

const jobsRoot = root + "/jobs"

// jobSearch is which jobs an address asks for, by the names of GET /jobs.
type jobSearch struct {
	Filter job.Filter
	values url.Values // as they were given, without the place
}

// jobFields are the parameters of a search and what they are called.
var jobFields = []struct{ name, label string }{
	{"state", "in the state"}, {"type", "of the type"}, {"queue", "of the queue"}, {"recipient", "for"},
	{"category", "of the category"}, {"template", "from the template"}, {"batch_id", "of the batch"}, {"schedule", "of the schedule"},
	{"code", "that ended as"}, {"since", "accepted since"}, {"until", "accepted before"},
}

// readJobSearch reads a search; the error is an Invalid. What was given is there
// in any case.
func readJobSearch(given url.Values) (s jobSearch, err error) {
	s.values = url.Values{}
	for _, f := range jobFields {
		if v := strings.TrimSpace(given.Get(f.name)); v != "" {
			s.values.Set(f.name, v)
		}
	}
	if q := strings.TrimSpace(given.Get("q")); q != "" { // what people type without a field's name
		s.values.Set("recipient", q)
	}
	get := s.values.Get
	s.Filter = job.Filter{
		Status: get("state"), Type: get("type"), Queue: get("queue"), Recipient: normalise(get("recipient")),
		Category: get("category"), Template: get("template"), Schedule: get("schedule"), Code: job.Code(get("code")),
	}
	var bad tasks.Invalid
	if batch := get("batch_id"); batch != "" {
		if s.Filter.Batch, err = job.ParseID(batch); err != nil {
			bad.Add("batch_id", "is not the id of a batch")
		}
	}
	if before := given.Get("before"); before != "" {
		if s.Filter.Before, err = job.ParseID(before); err != nil {
			bad.Add("before", "is not a place that a page before gave")
		}
	}
	for name, into := range map[string]*time.Time{"since": &s.Filter.Since, "until": &s.Filter.Until} {
		if text := get(name); text != "" {
			if *into, err = readTime(text); err != nil {
				bad.Add(name, "must be a time such as 2026-07-01 or 2026-07-01T08:30, in UTC")
			}
		}
	}
	if err := bad.OrNil(); err != nil {
		return s, job.Invalid(err)
	}
	return s, nil
}

// readTime reads a time as browsers and the API write it; one without a zone is
// UTC.
func readTime(text string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err = time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return t, err
}

// normalise is a recipient as jobs keep it: mail addresses in lower case,
// streams as they are.
func normalise(recipient string) string {
	if strings.HasPrefix(recipient, "user:") || strings.HasPrefix(recipient, "room:") {
		return recipient
	}
	return strings.ToLower(recipient)
}

// Given is a parameter as it was given.
func (s jobSearch) Given(name string) string { return s.values.Get(name) }

// Moment is a time as the browser's field for one shows it.
func (s jobSearch) Moment(name string) string {
	if t, err := readTime(s.Given(name)); err == nil {
		return t.UTC().Format("2006-01-02T15:04")
	}
	return ""
}

// Narrowed says whether anything beyond state and recipient is asked for.
func (s jobSearch) Narrowed() bool {
	n := len(s.values)
	for _, plain := range []string{"state", "recipient"} {
		if s.values.Has(plain) {
			n--
		}
	}
	return n > 0
}

// link is the address of the same search below path, with other parameters in
// place of its own.
func (s jobSearch) link(path string, change ...string) string {
	v := url.Values{}
	for name := range s.values {
		v.Set(name, s.values.Get(name))
	}
	for i := 0; i < len(change); i += 2 {
		v.Del(change[i])
		if change[i+1] != "" {
			v.Set(change[i], change[i+1])
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// Query is the search as an address's query.
func (s jobSearch) Query() string { return s.values.Encode() }

// OfState is the address of the same search among the jobs of a state.
func (s jobSearch) OfState(state string) string { return s.link(jobsRoot, "state", state) }

// Here is the address of the search's first page.
func (s jobSearch) Here() string { return s.link(jobsRoot) }

// Asked says in words what is asked for, empty for all jobs.
func (s jobSearch) Asked() string {
	var parts []string
	for _, f := range jobFields {
		if v := s.values.Get(f.name); v != "" {
			parts = append(parts, f.label+" "+v)
		}
	}
	return strings.Join(parts, ", ")
}

// unindexed says which of the fields asked for no index has, where none that one
// has is asked for beside them: such a search looks at one job after the other,
// the newest first.
func (s jobSearch) unindexed() []string {
	f := s.Filter
	if f.Recipient != "" || f.Batch != "" || f.Schedule != "" || f.Category != "" || f.Template != "" || !f.Since.IsZero() {
		return nil
	}
	var out []string
	for _, name := range []string{"type", "queue", "code"} {
		if s.values.Has(name) {
			out = append(out, name)
		}
	}
	return out
}

// tooSlow is the error of a search that the database did not finish in time.
func (s jobSearch) tooSlow(err error) error {
	names := s.unindexed()
	if job.CodeOf(err) != job.CodeTemporary || len(names) == 0 {
		return err
	}
	return job.Wrap(job.CodeTemporary, err, "%s", fmt.Sprintf(
		"the database found too few in time: %s alone is looked for from job to job. Add a recipient, a category, a schedule, or a time since", strings.Join(names, " and ")))
}
