package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

// mailroom is a store with mails in it.
type mailroom struct {
	*store.Store
	t     *testing.T
	clock jobtest.Clock
}

func newMailroom(t *testing.T, url string) *mailroom {
	t.Helper()
	clock := jobtest.NewClock()
	return &mailroom{open(t, url, store.Options{Clock: clock.Now, RepeatFor: slowRepeatFor}), t, clock}
}

// put accepts a mail; its id is made from the clock of the test.
func (m *mailroom) put(to string, about tasks.Description, change ...func(*job.New)) job.ID {
	m.t.Helper()
	id := job.IDFrom(m.clock.Now()).Plus(int(time.Now().UnixNano() & 0xffffffff))
	n := job.New{
		ID: id, Type: "email:send", Queue: "email", Recipient: to, AcceptedBy: "shop", About: about,
		Payload: []byte(`{"to":["` + to + `"]}`), MaxAttempts: 3, OnAmbiguous: tasks.Resend,
	}
	for _, f := range change {
		f(&n)
	}
	for range 2 { // as after a lost answer
		if _, err := m.Accept(m.t.Context(), job.Request{Base: n.ID, Jobs: []job.New{n}}); err != nil {
			m.t.Fatal(err)
		}
	}
	m.clock.Advance(time.Second)
	return n.ID
}

// end settles a run of the job.
func (m *mailroom) end(id job.ID, o job.Outcome) {
	m.t.Helper()
	got, err := m.Claim(m.t.Context(), job.Claim{ID: id, Token: string(job.NewID()), Worker: "w", Lease: 30 * time.Second})
	if err != nil || got.Verdict != job.Granted {
		m.t.Fatalf("claiming: %v, %v", got.Verdict, err)
	}
	if _, err := m.Settle(m.t.Context(), job.Plan(&got.Job, tasks.DefaultBackoff, o)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mailroom) search(q delivery.Query) (ids []job.ID) {
	m.t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	found, err := m.Search(m.t.Context(), q)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestSearch(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		m := newMailroom(t, url)
		begin := m.clock.Now()
		about := func(subject, template, category string) tasks.Description {
			return tasks.Description{Subject: subject, Template: template, Category: category}
		}
		ann := m.put("ann@example.com", about("Your  Receipt no. 7", "receipt", "receipt"))
		bob := m.put("bob@example.com", about("ÜBER uns", "", "news"))
		middle := m.clock.Now()
		late := m.put("ann@example.com", about("", "welcome", ""), func(n *job.New) { n.Delay = time.Hour })
		plain := m.put("ann@example.com", tasks.Description{})
		long := m.put("eve@example.com", about(strings.Repeat("ö", 500), "", ""))
		m.end(ann, job.PermanentFailure("550 no such user"))

		for name, c := range map[string]struct {
			q    delivery.Query
			want []job.ID
		}{
			"all that are described":       {delivery.Query{}, []job.ID{long, late, bob, ann}},
			"a person's, described or not": {delivery.Query{Recipients: []string{"ann@example.com"}}, []job.ID{plain, late, ann}},
			"in any form":                  {delivery.Query{Recipients: []string{"x@example.com", "bob@example.com"}}, []job.ID{bob}},
			"nobody's":                     {delivery.Query{Recipients: []string{""}}, nil},
			"by subject":                   {delivery.Query{Subject: "your receipt"}, []job.ID{ann}},
			"by subject, other letters":    {delivery.Query{Subject: "über U"}, []job.ID{bob}},
			"by a long subject":            {delivery.Query{Subject: strings.Repeat("Ö", 400)}, []job.ID{long}},
			"not in the middle":            {delivery.Query{Subject: "receipt"}, nil},
			"nothing special":              {delivery.Query{Subject: "%"}, nil},
			"by template":                  {delivery.Query{Template: "welcome"}, []job.ID{late}},
			"by category":                  {delivery.Query{Category: "news"}, []job.ID{bob}},
			"by state":                     {delivery.Query{Status: "failed"}, []job.ID{ann}},
			"scheduled":                    {delivery.Query{Status: "scheduled"}, []job.ID{late}},
			"of a person, by state":        {delivery.Query{Recipients: []string{"ann@example.com"}, Status: "queued"}, []job.ID{plain}},
			"of a person, by subject":      {delivery.Query{Recipients: []string{"ann@example.com"}, Subject: "your"}, []job.ID{ann}},
			"by state and category":        {delivery.Query{Status: "failed", Category: "receipt"}, []job.ID{ann}},
			"since":                        {delivery.Query{Since: middle}, []job.ID{long, late}},
			"until":                        {delivery.Query{Since: begin, Until: middle}, []job.ID{bob, ann}},
			"a page":                       {delivery.Query{Limit: 2}, []job.ID{long, late}},
			"the next":                     {delivery.Query{Limit: 2, Before: late}, []job.ID{bob, ann}},
		} {
			if got := m.search(c.q); !slices.Equal(got, c.want) {
				t.Errorf("%s: found %v, want %v", name, got, c.want)
			}
		}

		found, err := m.FindMail(t.Context(), late)
		if err != nil || found.Template != "welcome" || len(found.Payload) == 0 || !found.DueAt.Equal(found.CreatedAt.Add(time.Hour)) {
			t.Errorf("found %+v: %v", found, err)
		}
		if _, err := m.FindMail(t.Context(), job.NewID()); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("a mail that is not there: %v", err)
		}
		if _, err := m.Search(t.Context(), delivery.Query{Before: "x", Limit: 1}); job.CodeOf(err) != job.CodeInvalid {
			t.Errorf("a bad cursor: %v", err)
		}
		events, err := m.EventsOf(t.Context(), []job.ID{ann, bob}, []job.EventKind{job.EventSettled, job.EventBounced})
		if err != nil || len(events) != 1 || events[0].Job != ann || events[0].Kind != job.EventSettled {
			t.Errorf("events %+v: %v", events, err)
		}

		// What describes a job goes with it.
		m.clock.Advance(24 * time.Hour)
		if _, err := m.Purge(t.Context(), job.Retention{Done: time.Hour, Bodies: time.Hour, Failed: time.Hour}, 100); err != nil {
			t.Fatal(err)
		}
		if n := countRows(t, url, "mails"); n != 3 {
			t.Errorf("%d descriptions are left, want those of the three unfinished mails", n)
		}
	})
}

func countRows(t *testing.T, url, table string) (n int) {
	t.Helper()
	if err := raw(t, url).QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSearchesGoByIndexes holds that no search reads a table from end to end.
func TestSearchesGoByIndexes(t *testing.T) {
	const jobs = 20_000
	onEach(t, func(t *testing.T, url string) {
		m := newMailroom(t, url)
		db := raw(t, url)
		series, id := "generate_series(1, %d) AS s(n)", "lpad(to_hex(n), 32, '0')::uuid"
		if strings.HasPrefix(url, "sqlite:") {
			series, id = "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s)", "printf('00000000-0000-0000-0000-%%012x', n)"
		}
		for _, q := range []string{
			`INSERT INTO jobs (id, type, queue, state, recipient, created_at, updated_at, run_at, due_at, max_attempts, on_ambiguous, dispatch_at)
			 SELECT ` + strings.ReplaceAll(id, "%%", "%") + `, 'email:send', 'email', CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'done' END, 'user' || (n % 5000) || '@example.com', n, n, n, n, 12, 'resend', n FROM ` + fmt.Sprintf(series, jobs),
			`INSERT INTO mails (job_id, subject, subject_key, template, category, due_at)
			 SELECT id, 'Number ' || due_at, 'number ' || due_at, 't' || (due_at % 100), 'c' || (due_at % 100), due_at FROM jobs`,
			"ANALYZE", // which PostgreSQL does by itself, and SQLite does not
		} {
			if q == "ANALYZE" && strings.HasPrefix(url, "sqlite:") {
				continue
			}
			if _, err := db.ExecContext(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		ann, since := []string{"user17@example.com"}, time.UnixMilli(0)
		someday := delivery.Query{Since: since, Until: since.Add(24 * time.Hour)}
		on := func(q delivery.Query) delivery.Query { q.Since, q.Until = someday.Since, someday.Until; return q }
		deep := func(q delivery.Query) delivery.Query { q.Before = "00000000-0000-0000-0000-000000002000"; return q }
		for name, c := range map[string]struct {
			q    delivery.Query
			want string
		}{
			"recipient":              {delivery.Query{Recipients: ann}, "jobs_recipient"},
			"recipient, deep":        {deep(delivery.Query{Recipients: ann}), "jobs_recipient"},
			"recipient in two forms": {delivery.Query{Recipients: append(ann, "user18@example.com")}, "jobs_recipient"},
			"recipient and state":    {delivery.Query{Recipients: ann, Status: "failed"}, "jobs_recipient"},
			"recipient and subject":  {delivery.Query{Recipients: ann, Subject: "number"}, "jobs_recipient"},
			"recipient and template": {delivery.Query{Recipients: ann, Template: "t17"}, "jobs_recipient"},
			"recipient and day":      {on(delivery.Query{Recipients: ann}), "jobs_recipient"},
			"subject":                {delivery.Query{Subject: "number 1234"}, "mails_subject"},
			"subject of most":        {delivery.Query{Subject: "number"}, "mails"},
			"subject of most, deep":  {deep(delivery.Query{Subject: "number"}), "mails"},
			"template":               {delivery.Query{Template: "t17"}, "mails_template"},
			"template, deep":         {deep(delivery.Query{Template: "t17"}), "mails_template"},
			"category":               {delivery.Query{Category: "c17"}, "mails_category_job"},
			"category, deep":         {deep(delivery.Query{Category: "c17"}), "mails_category_job"},
			"failed":                 {delivery.Query{Status: "failed"}, "jobs_troubled"},
			"failed, deep":           {deep(delivery.Query{Status: "failed"}), "jobs_troubled"},
			"failed, of a day":       {on(delivery.Query{Status: "failed"}), "jobs"},
			"done, of a day":         {on(delivery.Query{Status: "done"}), "mails"},
			"all":                    {delivery.Query{}, "mails"},
			"all, deep":              {deep(delivery.Query{}), "mails"},
		} {
			c.q.Limit = 50
			plan, err := m.ExplainSearch(t.Context(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(plan, c.want) || strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "SCAN jobs\n") || strings.Contains(plan, "SCAN mails\n") {
				t.Errorf("%s is searched without %s:\n%s", name, c.want, plan)
			}
		}
		for name, c := range map[string]struct {
			f    job.Filter
			want string
		}{
			"jobs that failed":                {job.Filter{Status: "failed"}, "jobs_troubled"},
			"jobs for somebody":               {job.Filter{Recipient: "user17@example.com"}, "jobs_recipient"},
			"jobs for somebody of a category": {job.Filter{Recipient: "user17@example.com", Category: "c17"}, "jobs_recipient"},
			"jobs of a category":              {job.Filter{Category: "c17"}, "mails_category"},
			"jobs of a template":              {job.Filter{Template: "t17"}, "mails_template"},
			"failed jobs of a template":       {job.Filter{Template: "t17", Status: "failed"}, "mails"},
			"jobs of a schedule":              {job.Filter{Schedule: "nightly"}, "jobs_schedule"},
			"jobs of a schedule that failed":  {job.Filter{Schedule: "nightly", Status: "failed"}, "jobs_"},
			"jobs of a day":                   {job.Filter{Since: someday.Since, Until: someday.Until, Type: "email:send"}, "jobs"},
		} {
			c.f.Limit = 50
			plan, err := m.ExplainList(t.Context(), c.f)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(plan, c.want) || strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "SCAN jobs\n") || strings.Contains(plan, "SCAN mails\n") {
				t.Errorf("%s are listed without %s:\n%s", name, c.want, plan)
			}
		}
	})
}

func TestObjectiveMinutes(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		m := newMailroom(t, url)
		ctx := t.Context()
		o := delivery.Objective{Category: "reset", Share: 0.99, Within: 30 * time.Second}
		about := tasks.Description{Category: "reset"}
		m.clock.Advance(m.clock.Now().Truncate(time.Minute).Add(2 * time.Minute).Sub(m.clock.Now())) // to a full minute

		soon := m.put("a@example.com", about)
		late := m.put("b@example.com", about)
		refused := m.put("c@example.com", about)
		m.put("d@example.com", about)                                                // never sent
		m.put("e@example.com", tasks.Description{Category: "news"})                  // of no objective
		m.put("f@example.com", about, func(n *job.New) { n.Delay = time.Hour })      // not due
		m.put("g@example.com", about, func(n *job.New) { n.State = job.Suppressed }) // not to be sent
		m.put("h@example.com", tasks.Description{Category: "reset", Sink: true})     // not to be out
		m.end(soon, job.Succeeded("ok"))
		m.end(refused, job.PermanentFailure("550 no such user"))
		count := func() (a delivery.Attained) {
			t.Helper()
			for range 2 { // by two schedulers
				if err := m.CountMinutes(ctx, o, 6*time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			a, err := m.AttainedSince(ctx, "reset", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if got := count(); got != (delivery.Attained{}) {
			t.Errorf("before the minute is over: %+v", got)
		}
		m.clock.Advance(30 * time.Second)
		m.end(late, job.Succeeded("ok"))
		m.clock.Advance(time.Minute)
		if got := count(); got != (delivery.Attained{Total: 3, Good: 1}) {
			t.Errorf("counted %+v, want one of three in time", got)
		}
		m.clock.Advance(3 * time.Hour)
		if got := count(); got != (delivery.Attained{}) {
			t.Errorf("an hour of three hours later has %+v", got)
		}
		if got, err := m.AttainedSince(ctx, "reset", 6*time.Hour); err != nil || got != (delivery.Attained{Total: 4, Good: 1}) {
			t.Errorf("in six hours there are %+v, with the mail for later: %v", got, err)
		}
	})
}
