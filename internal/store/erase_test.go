package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

// canceller is job.Service.Cancel of jobs that no worker has.
type canceller struct{ *store.Store }

func (c canceller) SendAgain(context.Context, job.ID, job.Caller) (job.Accepted, error) {
	return job.Accepted{}, nil
}

func (c canceller) Cancel(ctx context.Context, id job.ID, actor string) (job.Job, error) {
	changed, err := c.Change(ctx, []job.ID{id}, func(j *job.Job, now time.Time) ([]job.Event, error) {
		if j.State == job.Running {
			return nil, nil // it will stop
		}
		j.State, j.FinishedAt = job.Cancelled, now
		return []job.Event{{Job: id, At: now, Kind: job.EventCancelled, State: job.Cancelled, Actor: actor}}, nil
	})
	if err != nil || len(changed) == 0 {
		return job.Job{}, err
	}
	return changed[0], nil
}

// TestErase holds that after an erasure nothing in the whole database gives the
// address away, and that counts, other people and the suppression stay.
func TestErase(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		m := newMailroom(t, url)
		ctx := t.Context()
		const ann = "Ann.Lee@Example.com"
		low := strings.ToLower(ann)
		quoting := func(payload string) func(*job.New) { return func(n *job.New) { n.Payload = []byte(payload) } }

		sent := m.put(low, tasks.Description{Subject: "To " + ann, Category: "news"}, quoting(`{"to":["`+ann+`"]}`))
		o := job.PermanentFailure("550 <%s> unknown", ann)
		m.end(sent, o)
		m.put(low, tasks.Description{Subject: "later"}, func(n *job.New) { n.Delay = time.Hour })
		note := m.put("user:"+low, tasks.Description{}, func(n *job.New) { n.Type = "notification:send" })
		done := job.Succeeded("")
		done.Effects = []job.Effect{inbox.Notification{ID: note, Stream: "user:" + low, Type: "info", Message: "hello"}}
		m.end(note, done)
		running := m.put(low, tasks.Description{})
		if got, err := m.Claim(ctx, job.Claim{ID: running, Token: string(job.NewID()), Worker: "w", Lease: 30 * time.Second}); err != nil || got.Verdict != job.Granted {
			t.Fatal(got.Verdict, err)
		}
		other := m.put("bob@example.com", tasks.Description{Subject: "About ann.lee@example.com"}, quoting(`{"to":["Bob <bob@example.com>","Ann <`+ann+`>"],"rcpt":"bob@example.com"}`))
		for i := range 20 { // so that a table has several pages
			m.put(fmt.Sprintf("x%d@example.com", i), tasks.Description{})
		}
		keyed := job.New{ID: job.NewID(), Type: "noop", Queue: "default", MaxAttempts: 1, OnAmbiguous: tasks.Resend, AcceptedBy: "schedule:" + low, Payload: []byte("{}")}
		if _, err := m.Accept(ctx, job.Request{Base: keyed.ID, Jobs: []job.New{keyed}, Key: job.IdempotencyKey{Owner: "shop", Key: "welcome-" + low, Hash: []byte("h"), Keep: time.Hour}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Suppressions().Suppress(ctx, mail.Suppression{Address: low, Reason: mail.Bounce, Note: "550 " + ann}); err != nil {
			t.Fatal(err)
		}

		// Who only sounds like her keeps what she has.
		joann := m.put("jo"+low, tasks.Description{}, quoting(`{"to":["jo`+low+`"]}`))
		if err := m.Suppressions().Suppress(ctx, mail.Suppression{Address: "jo" + low, Reason: mail.Unsubscribe}); err != nil {
			t.Fatal(err)
		}

		p, err := delivery.PersonOf(ann, "")
		if err != nil {
			t.Fatal(err)
		}
		s := delivery.New(delivery.Options{Store: m.Store, Jobs: canceller{m.Store}, Suppressions: m.Suppressions()})
		counts, err := s.CountErasable(ctx, p)
		if err != nil || counts[job.Failed] != 1 || counts[job.Waiting] != 1 || counts[job.Running] != 1 || counts[job.Done] != 1 {
			t.Errorf("to be erased are %v: %v", counts, err)
		}
		// As long as a mail is being sent the erasure is not over.
		first, err := s.Erase(ctx, p, "admin", "")
		if err != nil || first.Next != "jobs" || first.Jobs != 3 {
			t.Fatalf("the first call did %+v: %v", first, err)
		}
		if _, err := m.Settle(ctx, job.Settlement{RunRef: job.RunRef{ID: running, Run: 1}, Worker: "w", State: job.Failed, Charge: 1, Message: "550 " + ann}); err != nil {
			t.Fatal(err)
		}
		total := first.Jobs
		for from, calls := first.Next, 0; from != ""; calls++ {
			tight, cancel := context.WithTimeout(ctx, 2*time.Second) // shorter than its reserve: a page a call
			got, err := s.Erase(tight, p, "admin", from)
			cancel()
			if err != nil || calls > 100 {
				t.Fatalf("call %d did %+v: %v", calls, got, err)
			}
			total, from = total+got.Jobs, got.Next
		}
		if total != 4 {
			t.Errorf("%d jobs were erased, want 4", total)
		}

		for _, line := range dump(t, url) {
			for _, secret := range p.Forms {
				if strings.Contains(strings.ReplaceAll(strings.ToLower(line), "jo"+low, ""), secret) {
					t.Errorf("%q is still there: %s", secret, line)
				}
			}
		}
		if j, err := m.Find(ctx, sent); err != nil || j.State != job.Failed || j.Recipient != "" || !j.PayloadGone || j.Type != "email:send" {
			t.Errorf("what stays of a job is %+v: %v", j, err)
		}
		events, err := m.Events(ctx, sent)
		if last := events[len(events)-1]; err != nil || last.Kind != job.EventErased || last.Actor != "admin" {
			t.Errorf("the last event is %+v: %v", last, err)
		}
		if j, err := m.Find(ctx, other); err != nil || j.State != job.Waiting || j.Recipient != "bob@example.com" ||
			string(j.Payload) != `{"to":["Bob <bob@example.com>","Ann <`+delivery.Erased+`>"],"rcpt":"bob@example.com"}` {
			t.Errorf("another person's mail is %s: %v", j.Payload, err)
		}
		if j, err := m.Find(ctx, joann); err != nil || j.Recipient != "jo"+low || string(j.Payload) != `{"to":["jo`+low+`"]}` {
			t.Errorf("the mail to who sounds like her is for %q, %s: %v", j.Recipient, j.Payload, err)
		}
		if found, err := m.Suppressions().Find(ctx, "jo"+low); err != nil || len(found) != 1 {
			t.Errorf("who sounds like her is suppressed by %+v: %v", found, err)
		}
		found, err := m.Suppressions().Find(ctx, low)
		if err != nil || len(found) != 1 || found[0].Address != low || found[0].Reason != mail.Bounce {
			t.Errorf("suppressed are %+v: %v", found, err)
		}
		if again, err := s.Erase(ctx, p, "admin", ""); err != nil || again != (delivery.Erasure{}) {
			t.Errorf("a second erasure did %+v: %v", again, err)
		}
		if _, err := s.Erase(ctx, p, "admin", "sweep x"); job.CodeOf(err) != job.CodeInvalid {
			t.Errorf("a bad cursor: %v", err)
		}
	})
}

// dump is every row of every table as text.
func dump(t *testing.T, url string) (out []string) {
	t.Helper()
	db := raw(t, url)
	tables := "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
	if strings.HasPrefix(url, "sqlite:") {
		tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
	}
	var names []string
	for _, row := range query(t, db, tables) {
		names = append(names, strings.TrimSpace(row))
	}
	if len(names) < 8 {
		t.Fatalf("found the tables %v only", names)
	}
	for _, name := range names {
		for _, row := range query(t, db, "SELECT * FROM "+name) {
			out = append(out, name+": "+row)
		}
	}
	return out
}

func query(t *testing.T, db *sql.DB, q string) (out []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row := make([]any, len(names))
		into := make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		line := ""
		for _, v := range row {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			line += fmt.Sprint(v) + " "
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
