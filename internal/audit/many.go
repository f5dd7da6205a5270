package audit

import (
	"strings"

	"github.com/postrider/postrider/internal/job"
)

// ofBulk are the audit's names of commands on many jobs.
var ofBulk = map[job.Bulk]Action{job.BulkRetry: JobsRetry, job.BulkCancel: JobsCancel}

// OnMany makes the act one on the jobs that a filter chooses; each transaction
// counts those that it acts on.
func (a Act) OnMany(b job.Bulk, f job.Filter) Act {
	a.Action, a.Target, a.Count = ofBulk[b], f.Recipient, 0
	var words []string
	for _, word := range []string{f.Status, f.Type, f.Queue, f.Template, f.Category, f.Schedule, string(f.Code), string(f.Batch)} {
		if word != "" {
			words = append(words, word)
		}
	}
	a.Detail = strings.Join(words, " ")
	return a
}
