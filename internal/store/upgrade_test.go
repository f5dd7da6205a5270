package store_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

// TestSchemaGetsAheadOfARunningProcess: in a rolling upgrade the first new
// process adds to the schema under the old ones. What they have prepared and
// pooled goes on to work; only a restart of an old one is refused
// (TestSchemaVersions).
func TestSchemaGetsAheadOfARunningProcess(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		old := open(t, url, store.Options{})
		live := func() {
			t.Helper()
			base := job.NewID()
			n := job.New{ID: base, Type: "noop", Queue: "default", Payload: []byte(`{}`), MaxAttempts: 3, OnAmbiguous: tasks.Resend}
			key := job.IdempotencyKey{Owner: "shop", Key: string(base), Hash: []byte("h"), Keep: time.Hour}
			must := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			_, err := old.Accept(t.Context(), job.Request{Base: base, Key: key, Jobs: []job.New{n}})
			must("accepting", err)
			again, err := old.Accept(t.Context(), job.Request{Base: job.NewID(), Key: key, Jobs: []job.New{n}})
			must("accepting once more", err)
			if !again.Replayed || again.Base != base {
				t.Errorf("the repeat is answered %+v", again)
			}
			must("noting the dispatch", old.MarkDispatched(t.Context(), []job.Task{{ID: base, Dispatch: 1}}))
			waiting, _, err := old.Unclaimed(t.Context(), "default", -1, job.Cursor{}, 10)
			must("listing the unclaimed", err)
			if len(waiting) != 1 || waiting[0].ID != base {
				t.Errorf("unclaimed are %+v", waiting)
			}
			c, err := old.Claim(t.Context(), job.Claim{ID: base, Token: "token", Worker: "w", Lease: 30 * time.Second})
			must("claiming", err)
			ref := job.RunRef{ID: base, Run: c.Job.Runs}
			_, err = old.Extend(t.Context(), 30*time.Second, []job.RunRef{ref})
			must("extending", err)
			must("passing the point of no return", old.PassNoReturn(t.Context(), ref))
			_, err = old.Settle(t.Context(), job.Plan(&c.Job, tasks.DefaultBackoff, job.Succeeded("done")))
			must("settling", err)
			_, err = old.Change(t.Context(), []job.ID{base}, func(j *job.Job, now time.Time) ([]job.Event, error) {
				return []job.Event{{Job: j.ID, At: now, Kind: "test", State: j.State}}, nil
			})
			must("changing", err)
			j, err := old.Find(t.Context(), base)
			must("finding", err)
			events, err := old.Events(t.Context(), base)
			must("reading events", err)
			if j.State != job.Done || len(events) != 4 {
				t.Errorf("the job is %s with the events %+v", j.State, events)
			}
			_, err = old.List(t.Context(), job.Filter{Limit: 10})
			must("listing", err)
		}
		live()
		newer := raw(t, url)
		for _, table := range []string{"jobs", "job_events", "idempotency_keys", "leases", "streams", "notifications", "schedules", "schedule_runs"} {
			if _, err := newer.Exec("ALTER TABLE " + table + " ADD COLUMN of_a_newer_release TEXT NOT NULL DEFAULT ''"); err != nil {
				t.Fatal(err)
			}
		}
		for _, q := range []string{
			"CREATE INDEX jobs_of_a_newer_release ON jobs (of_a_newer_release)",
			"CREATE TABLE a_newer_release (id TEXT PRIMARY KEY)",
			"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)",
		} {
			if _, err := newer.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		live()
	})
}
