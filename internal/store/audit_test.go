package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// audited is the audit in short, oldest first.
func audited(t *testing.T, s *store.Store, f audit.Filter) (out []string) {
	t.Helper()
	if f.Limit == 0 {
		f.Limit = 1000
	}
	all, err := s.Audit().List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range slices.Backward(all) {
		out = append(out, fmt.Sprintf("%s %s %d %s", r.Actor, r.Action, r.Count, r.Outcome))
	}
	return out
}

func waitingJob(t *testing.T, s *store.Store, recipient string) job.ID {
	t.Helper()
	id := job.NewID()
	n := job.New{ID: id, Type: "noop", Queue: "default", Recipient: recipient, Payload: []byte(`{}`), MaxAttempts: 3, OnAmbiguous: tasks.Resend}
	if _, err := s.Accept(t.Context(), job.Request{Base: id, Jobs: []job.New{n}}); err != nil {
		t.Fatal(err)
	}
	return id
}

func note(j *job.Job, now time.Time) ([]job.Event, error) {
	return []job.Event{{Job: j.ID, At: now, Kind: "test", State: j.State}}, nil
}

// An act and its record are one transaction: whatever becomes of it, there are
// both or neither, and of each one.
func TestAuditIsInTheTransaction(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		var mu sync.Mutex
		faults := map[string]int{} // how often a point of "change" fails yet
		s := open(t, url, store.Options{Fault: func(op, point string) error {
			mu.Lock()
			defer mu.Unlock()
			if op == "change" && faults[point] > 0 {
				faults[point]--
				return context.DeadlineExceeded // of which nobody knows what came of it
			}
			return nil
		}})
		log := audit.New(s.Audit(), testkit.Logger(t))
		for _, point := range []string{"begin", "commit", "committed"} {
			id := waitingJob(t, s, "")
			mu.Lock()
			faults[point] = 2
			mu.Unlock()
			act := audit.Act{Actor: "key-" + point, Action: audit.JobRetry, Target: string(id), Count: 5}
			err := log.Do(t.Context(), act, func(ctx context.Context) error {
				_, err := s.Change(ctx, []job.ID{id}, func(j *job.Job, now time.Time) ([]job.Event, error) {
					if events, err := s.Events(context.WithoutCancel(ctx), id); err == nil && len(events) > 1 {
						return nil, nil // it was committed, as a command would see
					}
					return note(j, now)
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := audited(t, s, audit.Filter{Target: string(id)}); !slices.Equal(got, []string{"key-" + point + " job.retry 1 done"}) {
				t.Errorf("after faults at %s the audit has %q", point, got)
			}
		}
		refused := job.Errorf(job.CodeConflict, "no")
		id := waitingJob(t, s, "")
		err := log.Do(t.Context(), audit.Act{Actor: "shop", Action: audit.JobRun, Target: string(id), Count: 1}, func(ctx context.Context) error {
			_, err := s.Change(ctx, []job.ID{id}, func(*job.Job, time.Time) ([]job.Event, error) { return nil, refused })
			return err
		})
		if !errors.Is(err, refused) {
			t.Errorf("it answers %v", err)
		}
		if got := audited(t, s, audit.Filter{Target: string(id)}); !slices.Equal(got, []string{"shop job.run 0 conflict"}) {
			t.Errorf("of what was refused the audit has %q", got)
		}
		// Many transactions of one act.
		ids := []job.ID{waitingJob(t, s, ""), waitingJob(t, s, ""), waitingJob(t, s, "")}
		err = log.Do(t.Context(), audit.Act{Actor: "bulk", Action: audit.JobsRetry}, func(ctx context.Context) error {
			_, one := s.Change(ctx, ids[:2], note)
			_, two := s.Change(ctx, ids[2:], note)
			return errors.Join(one, two)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := audited(t, s, audit.Filter{Actor: "bulk"}); !slices.Equal(got, []string{"bulk jobs.retry 2 done", "bulk jobs.retry 1 done"}) {
			t.Errorf("of many the audit has %q", got)
		}
		// What nobody did is not recorded.
		before := len(audited(t, s, audit.Filter{}))
		if _, err := s.Change(t.Context(), ids, note); err != nil {
			t.Fatal(err)
		}
		if after := len(audited(t, s, audit.Filter{})); after != before {
			t.Errorf("%d records of Postrider's own doing", after-before)
		}
	})
}

func TestAuditOfSchedulesAndSuppressions(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, url, store.Options{})
		log := audit.New(s.Audit(), testkit.Logger(t))
		do := func(action audit.Action, target string, f func(context.Context) error) {
			t.Helper()
			if err := log.Do(t.Context(), audit.Act{Actor: "ann", Action: action, Target: target, Count: 9}, f); err != nil {
				t.Fatal(err)
			}
		}
		do(audit.SuppressionAdd, "x@example.com", func(ctx context.Context) error {
			return s.Suppressions().Suppress(ctx, mail.Suppression{Address: "x@example.com", Reason: mail.Manual}, mail.Suppression{Address: "x@example.com", Reason: mail.Bounce})
		})
		do(audit.SuppressionRemove, "X@Example.com", func(ctx context.Context) error {
			_, err := s.Suppressions().Unsuppress(ctx, mail.SuppressionFilter{Address: "x@example.com"})
			return err
		})
		now := time.Now()
		do(audit.ScheduleCreate, "nightly", func(ctx context.Context) error {
			_, err := s.Schedules().Change(ctx, "nightly", func(*schedule.Entry, time.Time) (*schedule.Entry, error) {
				return &schedule.Entry{Definition: schedule.Definition{
					Name: "nightly", Type: "noop", Payload: []byte(`{}`), Queue: "default", Cron: "@daily", TimeZone: "UTC",
					Missed: schedule.MissedSkip, Overlap: schedule.OverlapSkip,
				}, Source: schedule.FromAPI, CreatedAt: now, UpdatedAt: now}, nil
			})
			return err
		})
		want := []string{"ann suppression.add 2 done", "ann suppression.remove 2 done"}
		if got := audited(t, s, audit.Filter{Target: "x@EXAMPLE.com"}); !slices.Equal(got, want) {
			t.Errorf("of the address the audit has %q", got)
		}
		if got := audited(t, s, audit.Filter{Target: "nightly"}); !slices.Equal(got, []string{"ann schedule.create 1 done"}) {
			t.Errorf("of the schedule the audit has %q", got)
		}
	})
}

// The audit names nobody whom an erasure is about, and an erasure that comes by it
// neither fails nor changes it.
func TestAuditAndErasure(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, url, store.Options{})
		write := func(actor, target, detail string) {
			t.Helper()
			r := audit.Record{ID: string(job.NewID()), Act: audit.Act{Actor: actor, Action: audit.JobCancel, Target: target, Detail: detail}, Outcome: audit.Done}
			if err := s.Audit().Write(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		write("user:gone@example.com", "Gone@Example.com", "")
		write("user:42", "user:42", "")
		write("key", "room:gone@example.com", "for gone@example.com")
		write("dashboard:ann", strings.Repeat("long ", 1000)+"gone@example.com\x00", "")
		if text := strings.Join(dump(t, url), "\n"); strings.Contains(text, "gone@") || strings.Contains(text, "Gone@") || strings.Contains(text, "user:42") {
			t.Errorf("the audit gives people away:\n%s", text)
		}
		for target, n := range map[string]int{"GONE@example.com": 1, "user:42": 1, "room:gone@example.com": 1, "42": 0} {
			if got := audited(t, s, audit.Filter{Target: target}); len(got) != n {
				t.Errorf("%s has %q", target, got)
			}
		}
		if got := audited(t, s, audit.Filter{Actor: "user:42"}); len(got) != 1 {
			t.Errorf("the user did %q", got)
		}
		before := audited(t, s, audit.Filter{})
		p, err := delivery.PersonOf("ann@example.com", "")
		if err != nil {
			t.Fatal(err)
		}
		for at := ""; ; {
			if at, _, err = s.Sweep(t.Context(), p, at, 100); err != nil {
				t.Fatal(err)
			}
			if at == "" {
				break
			}
		}
		if after := audited(t, s, audit.Filter{}); !slices.Equal(before, after) {
			t.Errorf("the audit was %q and is %q", before, after)
		}
	})
}

// The schema itself refuses what would change the past.
func TestAuditIsAppendOnly(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		s := open(t, url, store.Options{})
		db := raw(t, url)
		id := string(job.NewID())
		write := func(part int, actor string) {
			t.Helper()
			if err := s.Audit().Write(t.Context(), audit.Record{ID: id, Part: part, Act: audit.Act{Actor: actor, Action: audit.Login}, Outcome: audit.Done}); err != nil {
				t.Fatal(err)
			}
		}
		write(1, "ann")
		write(1, "mallory") // the first stays
		write(2, "bob")
		attempts := []string{
			"UPDATE audit SET actor = 'mallory'", "DELETE FROM audit", "DELETE FROM audit WHERE actor = 'ann'",
			"UPDATE audit_horizon SET before = 99999999999999", "INSERT INTO audit_horizon (one, before) VALUES (TRUE, 99999999999999)",
		}
		if strings.HasPrefix(url, "sqlite:") {
			attempts = append(attempts, "REPLACE INTO audit_horizon (one, before) VALUES (1, 99999999999999)")
			replace := `INSERT OR REPLACE INTO audit (seq, act, part, at, actor, address, request, action, target, detail, count, outcome)
				SELECT seq, act, part, at, 'mallory', address, request, action, target, detail, count, outcome FROM audit`
			if _, err := db.ExecContext(t.Context(), replace); err != nil {
				t.Fatal(err) // it is passed over, as ON CONFLICT DO NOTHING would
			}
		} else {
			attempts = append(attempts, "TRUNCATE audit",
				"INSERT INTO audit_horizon (one, before) VALUES (TRUE, 99999999999999) ON CONFLICT (one) DO UPDATE SET before = excluded.before")
		}
		for _, q := range attempts {
			if _, err := db.ExecContext(t.Context(), q); err == nil {
				t.Errorf("%s went well", q)
			}
		}
		if got := audited(t, s, audit.Filter{}); !slices.Equal(got, []string{"ann login 0 done", "bob login 0 done"}) {
			t.Errorf("the audit has %q", got)
		}
	})
}

func TestAuditRetention(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		const day = 24 * time.Hour
		now := time.Now().Add(-100 * day)
		s := open(t, url, store.Options{Clock: func() time.Time { return now }})
		for i := range 10 {
			r := audit.Record{ID: string(job.NewID()), Act: audit.Act{Actor: fmt.Sprint("key", i), Action: audit.Login}, Outcome: audit.Done}
			if err := s.Audit().Write(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			now = now.Add(10 * day)
		}
		// It is now today; the records are 100, 90, … 10 days old.
		prune := func(keep time.Duration, want int) {
			t.Helper()
			total := 0
			for {
				n, err := s.Audit().PruneAudit(t.Context(), keep, 2)
				if err != nil {
					t.Fatal(err)
				}
				if total += n; n < 2 {
					break
				}
			}
			if total != want {
				t.Errorf("keeping %s it deleted %d, want %d", keep, total, want)
			}
		}
		prune(75*day, 3)
		prune(90*day, 0)        // longer than before
		prune(time.Minute, 4)   // 70, 60, 50, 40: the last 30 days stay
		prune(audit.MinKeep, 0) // at which one lies
		if got := audited(t, s, audit.Filter{}); len(got) != 3 {
			t.Errorf("left are %q", got)
		}
		for _, c := range []struct {
			f    audit.Filter
			want int
		}{
			{audit.Filter{Since: now.Add(-20 * day)}, 2}, {audit.Filter{Until: now.Add(-20 * day)}, 1}, {audit.Filter{Action: audit.JobCancel}, 0}, {audit.Filter{Limit: 2}, 2},
		} {
			if got := audited(t, s, c.f); len(got) != c.want {
				t.Errorf("%+v finds %q", c.f, got)
			}
		}
	})
}
