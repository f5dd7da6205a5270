package audit_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/audit/audittest"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is the audit in short, oldest first.
func told(t *testing.T, m *audittest.Memory) (out []string) {
	t.Helper()
	all, err := m.List(t.Context(), audit.Filter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		out = append([]string{fmt.Sprintf("%s %s %d %s", r.Action, r.Target, r.Count, r.Outcome)}, out...)
	}
	return out
}

func want(t *testing.T, m *audittest.Memory, lines ...string) {
	t.Helper()
	if got := told(t, m); strings.Join(got, "\n") != strings.Join(lines, "\n") {
		t.Errorf("the audit has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

var cancel = audit.Act{Actor: "shop", Action: audit.JobCancel, Target: "a", Count: 1}

func TestDo(t *testing.T) {
	m := &audittest.Memory{}
	l := audit.New(m, testkit.Logger(t))
	do := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	conflict := job.Errorf(job.CodeConflict, "it is over")
	if err := l.Do(t.Context(), cancel, do(nil)); err != nil {
		t.Error(err)
	}
	if err := l.Do(t.Context(), cancel, do(conflict)); !errors.Is(err, conflict) {
		t.Error(err)
	}
	if err := l.Do(t.Context(), cancel, do(job.Errorf(job.CodeInvalid, "what?"))); job.CodeOf(err) != job.CodeInvalid {
		t.Error(err)
	}
	// What transactions recorded is not recorded once more.
	err := l.Do(t.Context(), cancel, func(ctx context.Context) error {
		n := audit.NoteOf(ctx)
		first, second := n.NextPart(), n.NextPart()
		if first == second || first == 0 {
			t.Errorf("the parts are %d and %d", first, second)
		}
		if r := n.Record(first, 7); r.Count != 7 || r.Target != "a" || r.Outcome != audit.Done || r.ID == "" {
			t.Errorf("a transaction records %+v", r)
		}
		n.Committed()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// That it failed after it had done some is recorded behind those.
	err = l.Do(t.Context(), cancel, func(ctx context.Context) error {
		n := audit.NoteOf(ctx)
		if err := m.Write(ctx, n.Record(n.NextPart(), 7)); err != nil {
			t.Error(err)
		}
		n.Committed()
		return conflict
	})
	if !errors.Is(err, conflict) {
		t.Error(err)
	}
	want(t, m, "job.cancel a 1 done", "job.cancel a 0 conflict", "job.cancel a 7 done", "job.cancel a 0 conflict")

	away := errors.New("away")
	m.Fail(away)
	if err := l.Do(t.Context(), cancel, do(nil)); job.CodeOf(err) != job.CodeTemporary || !errors.Is(err, away) {
		t.Errorf("without a record it answers %v", err)
	}
	if err := l.Do(t.Context(), cancel, do(conflict)); !errors.Is(err, conflict) {
		t.Errorf("what failed anyway answers %v", err)
	}
}

// A record is written even if the request has ended by then.
func TestRecordOutlivesRequest(t *testing.T) {
	m := &audittest.Memory{}
	l := audit.New(strict{m}, testkit.Logger(t))
	ctx, leave := context.WithCancel(t.Context())
	err := l.Steps(ctx, cancel, audit.One(func(context.Context) error { leave(); return nil }))
	if err != nil {
		t.Error(err)
	}
	want(t, m, "job.cancel a 1 begun", "job.cancel a 1 done")
}

// strict is a store that does nothing for who has left.
type strict struct{ *audittest.Memory }

func (s strict) Write(ctx context.Context, r audit.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Memory.Write(ctx, r)
}

func TestSteps(t *testing.T) {
	m := &audittest.Memory{}
	l := audit.New(m, testkit.Logger(t))
	erase := audit.Act{Action: audit.RecipientErase, Target: "x"}
	broken := errors.New("broken")
	if err := l.Steps(t.Context(), erase, func(ctx context.Context) (int, error) {
		if audit.NoteOf(ctx) != nil {
			t.Error("its transactions would record themselves")
		}
		want(t, m, "recipient.erase x 0 begun")
		return 3, nil
	}); err != nil {
		t.Error(err)
	}
	if err := l.Steps(t.Context(), erase, func(context.Context) (int, error) { return 2, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	want(t, m, "recipient.erase x 0 begun", "recipient.erase x 3 done", "recipient.erase x 0 begun", "recipient.erase x 2 internal")
	m.Fail(errors.New("away"))
	err := l.Steps(t.Context(), erase, func(context.Context) (int, error) { t.Error("it was done without a record"); return 0, nil })
	if job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("it answers %v", err)
	}
}

// However many logins fail, there is a record a minute.
func TestFailedLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &audittest.Memory{}
		l := audit.New(m, testkit.Logger(t))
		l.Start()
		synctest.Wait()
		for i := range 5000 {
			l.FailedLogin(fmt.Sprintf("192.0.2.%d", i%3000))
		}
		for range 10 {
			l.FailedLogin("198.51.100.7") // one more than are told apart
			l.FailedLogin("192.0.2.5")
		}
		time.Sleep(61 * time.Second)
		want(t, m, "login.failed  5020 unauthorized")
		all, _ := m.List(t.Context(), audit.Filter{Limit: 1})
		if all[0].Address != "192.0.2.5" || all[0].Detail != "1000 addresses; 12 from this one" {
			t.Errorf("it is told as %+v", all[0])
		}
		time.Sleep(5 * time.Minute) // in which nobody tried
		m.Fail(errors.New("away"))
		l.FailedLogin("a")
		time.Sleep(61 * time.Second)
		m.Fail(nil)
		l.FailedLogin("b")
		if err := l.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		want(t, m, "login.failed  5020 unauthorized", "login.failed  2 unauthorized")
	})
}

func TestExport(t *testing.T) {
	m := &audittest.Memory{}
	const n = 2345 // three pages
	for i := range n {
		if err := m.Write(t.Context(), audit.Record{ID: "act", Act: audit.Act{Actor: "=HYPERLINK(1)", Action: audit.JobCancel, Target: fmt.Sprint("+", i), Detail: "a,\"b\"\n"}, Outcome: "done"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, as := range []audit.Format{audit.CSV, audit.NDJSON} {
		list, err := audit.NewExport(t.Context(), m, audit.Filter{Action: audit.JobCancel})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		pages := 0
		if err := list.Write(t.Context(), &out, as, func() { pages++ }); err != nil || pages != 3 {
			t.Fatalf("%s: %d pages, %v", as, pages, err)
		}
		if as == audit.CSV {
			rows, err := csv.NewReader(&out).ReadAll()
			if err != nil || len(rows) != n+1 {
				t.Fatalf("%d lines, %v", len(rows), err)
			}
			if row := strings.Join(rows[1], "|"); !strings.Contains(row, "|'=HYPERLINK(1)||job.cancel|'+2344|0|done|a,\"b\"\n|act|") || !strings.HasPrefix(row, "2345|20") {
				t.Errorf("the first is %q", row)
			}
			continue
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		var last audit.View
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != n || last.Seq != 1 || last.Actor != "=HYPERLINK(1)" {
			t.Errorf("%d lines, the last %+v: %v", len(lines), last, err)
		}
	}
}
