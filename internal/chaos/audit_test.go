package chaos

import (
	"fmt"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// rig is a harness over rows and mails that a test makes by hand.
type rig struct {
	*harness
	made int
}

func newRig(t *testing.T, address string) *rig {
	h := &harness{t: t, began: time.Now(), mail: newMailServer(t, "127.0.0.1"), stream: &stream{}, table: timetable{anchors: map[schedule]time.Time{}}}
	h.openDatabase(address)
	r := &rig{harness: h}
	r.exec(`TRUNCATE jobs, job_events, notifications, schedule_runs`)
	return r
}

// migrated makes a database with our tables and returns its address.
func migrated(t *testing.T) string {
	t.Helper()
	address := testkit.Postgres(t)
	s, err := store.Open(t.Context(), store.Config{URL: address, AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

func (r *rig) exec(text string, args ...any) {
	r.t.Helper()
	if _, err := r.db.Exec(text, args...); err != nil {
		r.t.Fatalf("%v: %s", err, text)
	}
}

// job makes a job with its events, each "kind:state" or "kind:state:code", a
// second apart, and returns its id. A client has asked for it if want is a
// state.
func (r *rig) job(kind, state, want string, events ...string) string {
	r.t.Helper()
	r.made++
	id := fmt.Sprintf("00000000-0000-7000-8000-%012d", r.made)
	by := ""
	if want == "" {
		by = "schedule:" + overAPI[0].name
	}
	r.exec(`INSERT INTO jobs (id, type, queue, state, accepted_by, created_at, updated_at, run_at, max_attempts, on_ambiguous, dispatch_at)
		VALUES ($1, $2, 'default', $3, $4, 0, 0, 0, 3, 'resend', 0)`, id, kind, state, by)
	for i, e := range events {
		parts := append(strings.Split(e, ":"), "")
		r.exec(`INSERT INTO job_events (job_id, at, kind, state, code) VALUES ($1, $2, $3, $4, $5)`,
			id, r.began.Add(time.Duration(i)*time.Second).UnixMilli(), parts[0], parts[1], parts[2])
	}
	if want != "" {
		kinds := map[string]string{"email:send": "mail", "notification:send": "notification"}
		r.stream.accepted = append(r.stream.accepted, accepted{wish{kind: kinds[kind], want: want}, id, time.Now()})
	}
	return id
}

// by makes the process the worker of all of the job's runs.
func (r *rig) by(id string, pid int) {
	r.t.Helper()
	r.exec(`UPDATE job_events SET worker = $2 WHERE job_id = $1`, id, fmt.Sprintf("a-host-%d-abcdef", pid))
}

// send sends the job's mail.
func (r *rig) send(id string) error {
	text := "Message-ID: <" + id + "@localhost>\r\nSubject: x\r\n\r\nx\r\n"
	return smtp.SendMail(r.mail.Addr(), nil, "a@example.com", []string{"b@example.com"}, []byte(text))
}

// deliver is a send that must succeed.
func (r *rig) deliver(id string) {
	r.t.Helper()
	if err := r.send(id); err != nil {
		r.t.Fatal(err)
	}
}

// The audit counts each kind of breach that a test commits, and nothing else.
func TestAudit(t *testing.T) {
	address := migrated(t)
	good := []string{"accepted:waiting", "started:running", "settled:done"}
	for _, c := range []struct {
		name   string
		commit func(*rig)
		want   Report
	}{
		{"nothing", func(r *rig) {
			r.deliver(r.job("email:send", "done", "done", good...))
			r.job("email:send", "failed", "failed", "accepted:waiting", "started:running", "settled:failed")
			id := r.job("notification:send", "done", "done", good...)
			r.exec(`INSERT INTO notifications VALUES ('user:1', 1, $1, 'info', 'x', NULL, 0)`, id)
		}, Report{Accepted: 3, Done: 2, FailedAsMeant: 1}},
		{"a job is not there", func(r *rig) {
			r.stream.accepted = append(r.stream.accepted, accepted{wish{want: "done"}, "00000000-0000-7000-8000-00000000ffff", time.Now()})
		}, Report{Accepted: 1, Lost: 1}},
		{"a job failed", func(r *rig) { r.job("noop", "failed", "done") }, Report{Accepted: 1, Lost: 1}},
		{"a job is held", func(r *rig) { r.job("noop", "held", "done") }, Report{Accepted: 1, Held: 1}},
		{"a mail is done and was never sent", func(r *rig) { r.job("email:send", "done", "done") }, Report{Accepted: 1, Lost: 1}},
		{"a request made two jobs", func(r *rig) {
			r.job("noop", "done", "done")
			r.job("noop", "done", "done")
			r.stream.accepted = r.stream.accepted[:1]
		}, Report{Accepted: 1, Done: 1, TwoJobs: 1}},
		{"a request without an answer made a job", func(r *rig) {
			r.job("noop", "done", "done")
			r.stream.accepted, r.stream.unanswered = nil, 1
		}, Report{Unanswered: 1}},
		{"a job ran again", func(r *rig) {
			r.job("noop", "done", "done", append(good, "started:running", "settled:done")...)
		}, Report{Accepted: 1, Done: 1, RunAgain: 1}},
		{"a job ran twice at once", func(r *rig) {
			r.job("noop", "done", "done", "accepted:waiting", "started:running", "started:running", "settled:done")
		}, Report{Accepted: 1, Done: 1, AtOnce: 1}},
		{"a run died and the next was done", func(r *rig) {
			r.job("noop", "done", "done", "started:running", "died:waiting", "started:running", "settled:done", "late:done")
		}, Report{Accepted: 1, Done: 1}},
		{"a worker that was told to end leaves a run to its lease", func(r *rig) {
			r.by(r.job("noop", "done", "done", "started:running", "died:waiting", "started:running", "settled:done"), 7)
			r.dismissed = []int{7}
		}, Report{Accepted: 1, Done: 1, Dismissed: 1, LeftBehind: 1}},
		{"a worker that was told to end charges a run for it", func(r *rig) {
			r.by(r.job("noop", "done", "done", "started:running", "settled:waiting:temporary", "started:running", "settled:done"), 7)
			r.dismissed = []int{7}
		}, Report{Accepted: 1, Done: 1, Dismissed: 1, LeftBehind: 1}},
		{"a worker that was told to end gives a run back, and another dies", func(r *rig) {
			r.by(r.job("noop", "done", "done", "started:running", "settled:waiting", "started:running", "settled:done"), 7)
			r.by(r.job("noop", "done", "done", "started:running", "died:waiting", "started:running", "settled:done"), 77)
			r.dismissed = []int{7}
		}, Report{Accepted: 2, Done: 2, Dismissed: 1}},
		{"a notification is missing", func(r *rig) { r.job("notification:send", "done", "done") }, Report{Accepted: 1, Done: 1, Notifications: 1}},
		{"a stream has a gap", func(r *rig) {
			id := r.job("notification:send", "done", "done")
			r.exec(`INSERT INTO notifications VALUES ('user:1', 2, $1, 'info', 'x', NULL, 0)`, id)
		}, Report{Accepted: 1, Done: 1, Notifications: 1}},
		{"a mail went out twice", func(r *rig) {
			id := r.job("email:send", "done", "done", "settled:waiting:temporary", "started:running", "settled:done")
			r.deliver(id)
			r.deliver(id)
		}, Report{Accepted: 1, Done: 1, MailsTwice: 1}},
		{"a mail went out three times, owned up to once", func(r *rig) {
			id := r.job("email:send", "done", "done", "settled:waiting:ambiguous", "started:running", "settled:done")
			for range 3 {
				r.deliver(id)
			}
		}, Report{Accepted: 1, Done: 1, MailsTwice: 2, MailsFlagged: 1}},
		{"a mail went out twice, its 250 was lost", func(r *rig) {
			id := r.job("email:send", "done", "done", "settled:waiting:ambiguous", "started:running", "settled:done")
			r.mail.Once(testkit.SMTPAtDot, testkit.SMTPClose().Accepting())
			if err := r.send(id); err == nil {
				r.t.Error("a cut line looked like a delivery")
			}
			r.deliver(id)
		}, Report{Accepted: 1, Done: 1, MailsTwice: 1, MailsInWindow: 1, MailsFlagged: 1}},
		{"a mail went out twice, its worker died", func(r *rig) {
			id := r.job("email:send", "done", "done", "started:running", "died:waiting:ambiguous", "started:running", "settled:done")
			r.deliver(id)
			r.deliver(id)
		}, Report{Accepted: 1, Done: 1, MailsTwice: 1, MailsInWindow: 1, MailsFlagged: 1}},
		{"a mail went out after its outcome", func(r *rig) {
			r.began = r.began.Add(-time.Minute)
			id := r.job("email:send", "done", "done", good...)
			r.deliver(id)
		}, Report{Accepted: 1, Done: 1, RunAgain: 1}},
		{"slots are missed and doubled", func(r *rig) {
			slot := func(n int) int64 { return r.began.Add(time.Duration(n) * time.Second).UnixMilli() }
			s := overAPI[0]
			r.table.anchors[s], r.table.cutoff = r.began, r.began.Add(3*time.Second)
			for n := 1; n <= 2; n++ { // the third is missed
				r.exec(`INSERT INTO schedule_runs (name, slot, at, outcome, job_id) VALUES ($1, $2, 0, 'fired', $3)`,
					s.name, slot(n), r.job("noop", "done", ""))
			}
			r.job("noop", "done", "") // of no slot
		}, Report{Slots: 3, SlotsMissed: 1, SlotsDoubled: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, address)
			c.commit(r)
			got := r.audit(nil)
			if clean := len(got.Breaches()) == 0; clean != (len(c.want.Breaches()) == 0) {
				t.Errorf("breaches: %v", got.Breaches())
			}
			got.Recovery = nil
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// Two conversations about one mail at the same time are seen, also when the
// server took neither; of a suspended worker only while it was awake.
func TestConversations(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	h := &harness{stopped: []interval{{from: at(10), to: at(60)}}}
	tx := func(id string, began, heard, ended int) testkit.SMTPTransaction {
		return testkit.SMTPTransaction{MessageID: "<" + id + "@localhost>", Began: at(began), Heard: at(heard), Ended: at(ended)}
	}
	atOnce, afterwards := h.conversations([]testkit.SMTPTransaction{
		tx("one after the other", 1, 2, 3), tx("side by side", 1, 4, 5),
		tx("one after the other", 3, 4, 5), tx("side by side", 2, 3, 6),
		tx("suspended", 8, 9, 70), tx("suspended, and went on", 8, 61, 70),
		tx("suspended", 50, 51, 52), tx("suspended, and went on", 50, 51, 52),
		tx("after its outcome", 80, 81, 82),
	}, map[string]int{"after its outcome": 79_000, "side by side": 6_000})
	if got := fmt.Sprint(atOnce); got != "[side by side suspended, and went on]" {
		t.Errorf("at once: %s", got)
	}
	if got := fmt.Sprint(afterwards); got != "[after its outcome]" {
		t.Errorf("after the outcome: %s", got)
	}
}

// A recovery lasts until the last of the mark's jobs begins.
func TestRecovery(t *testing.T) {
	r := newRig(t, migrated(t))
	at := r.began.Add(time.Millisecond)
	from := int(at.UnixMilli())
	m := &mark{bar: deadWorker, at: at, jobs: map[string]int{
		r.job("noop", "done", "done", "started:running", "died:waiting", "started:running", "settled:done"):                     from,
		r.job("noop", "running", "done", "started:running", "died:waiting", "redispatched:waiting", "started:running"):          from,
		r.job("noop", "held", "done", "started:running", "died:held"):                                                           from,
		r.job("noop", "running", "done", "accepted:waiting", "late:waiting", "late:waiting", "late:waiting", "started:running"): from + 2000,
	}}
	if open := r.open(m); len(open) != 0 {
		t.Errorf("%v have not begun again", open)
	}
	if got, last := r.recovery(m); got.Round(time.Second) != 3*time.Second || last == "" {
		t.Errorf("recovered in %s with job %q, want 3 s", got, last)
	}
	m.jobs[r.job("noop", "waiting", "done", "started:running", "died:waiting")] = from
	if open := r.open(m); len(open) != 1 {
		t.Errorf("%v have not begun again, want one", open)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	bad := Report{Name: "two", Lost: 1, MailsTwice: 2, MailsInWindow: 2, MailsFlagged: 1, Recovery: map[bar]time.Duration{redisBack: 11 * time.Second}}
	if err := WriteTable(&b, Report{Name: "one", Accepted: 7}, bad); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| what | one | two | bar |\n| --- | ---: | ---: | ---: |\n",
		"\n| jobs accepted (answered with 202) | 7 | 0 |  |\n",
		"\n| lost | 0 | 1 | 0 |\n",
		"\n| longest until jobs ran again after Redis was back | 0.0 s | 11.0 s | ≤ 10 s |\n",
	} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("the table lacks %q:\n%s", line, b.String())
		}
	}
	if got := len(bad.Breaches()); got != 3 {
		t.Errorf("got the breaches %q, want three", bad.Breaches())
	}
}
