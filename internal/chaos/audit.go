package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// audit counts what has become of everything, by the client's own record, the
// mail server's and the rows in SQL.
func (h *harness) audit(unsettled []string) Report {
	h.t.Helper()
	record := h.stream.record()
	r := Report{
		Name: h.plan.Name, Faults: h.faults, Accepted: len(record), Unanswered: h.stream.unanswered,
		Recovery: map[bar]time.Duration{},
	}
	h.auditJobs(&r, record, unsettled)
	h.auditMails(&r)
	h.auditRuns(&r)
	h.auditDismissed(&r)
	r.Slots, r.SlotsMissed, r.SlotsDoubled = h.slots()
	for _, m := range h.marks {
		took, _ := h.recovery(m)
		r.Recovery[m.bar] = max(r.Recovery[m.bar], took)
	}
	return r
}

// auditJobs compares what each accepted job was to come to with what it came
// to. A mail that is done must have been taken by the mail server, a
// notification must be in its stream.
func (h *harness) auditJobs(r *Report, record []accepted, unsettled []string) {
	h.t.Helper()
	states := map[string]string{}
	h.query(`SELECT id, state FROM jobs`, func(scan func(...any) error) error {
		var id, state string
		err := scan(&id, &state)
		states[id] = state
		return err
	})
	taken := h.taken()
	for _, a := range record {
		state := states[a.id]
		mail := strings.Contains(a.kind, "mail")
		switch {
		case state == "held":
			r.Held++
		case state != a.want, slices.Contains(unsettled, a.id), mail && a.want == "done" && taken[a.id] == 0:
			r.Lost++
			h.describe(a, state)
		case a.want == "failed":
			r.FailedAsMeant++
		default:
			r.Done++
		}
	}
	// Each request names its job by a text of its own, so that a job which no
	// answer told of is found too.
	strangers := h.count(`SELECT count(*) FROM jobs WHERE accepted_by NOT LIKE 'schedule:%'`) - len(record)
	r.TwoJobs = h.stream.twice + max(0, strangers-h.stream.unanswered)
	r.Notifications = h.count(`SELECT count(*) FROM jobs j LEFT JOIN notifications n ON n.id = j.id
			WHERE j.type = 'notification:send' AND (j.state = 'done') <> (n.id IS NOT NULL)`) +
		h.count(`SELECT count(*) - count(DISTINCT message) FROM notifications WHERE stream LIKE 'user:%'`) +
		h.count(`SELECT count(*) FROM (SELECT stream FROM notifications GROUP BY stream
			HAVING max(seq) <> count(*) OR min(seq) <> 1) AS gaps`)
}

// auditMails looks for mails that were taken twice. Each time must lie in the
// stated window, and be owned up to by an event of its job that says ambiguous.
func (h *harness) auditMails(r *Report) {
	h.t.Helper()
	ambiguous := h.tally(`SELECT job_id, count(*) FROM job_events WHERE code = 'ambiguous' GROUP BY job_id`)
	for id, n := range h.taken() {
		if n < 2 {
			continue
		}
		r.MailsTwice += n - 1
		r.MailsInWindow += h.inWindow(id)
		r.MailsFlagged += min(n-1, ambiguous[id])
		if n-1 > ambiguous[id] {
			h.tell("mail %s was taken %d times, %d runs of its job are ambiguous:%s", id, n, ambiguous[id], h.history(id))
		}
	}
}

// inWindow counts the times that the job's mail was taken and had to be sent
// again as nobody could know: the mail server's journal shows that the client
// had no answer it was heard to go on after, or SQL that the run ended without
// its outcome being recorded.
func (h *harness) inWindow(id string) int {
	h.t.Helper()
	n := 0
	var before *testkit.SMTPTransaction // that was taken
	for _, tx := range h.mail.Transactions() {
		if of, ours := jobOf(tx.MessageID); !ours || of != id || !tx.Accepted {
			continue
		}
		if before != nil && (!before.Confirmed || h.endedUnrecorded(id, before.Began)) {
			n++
		} else if before != nil {
			h.tell("mail %s was taken again although its 250 was read and an outcome recorded:%s", id, h.history(id))
		}
		before = &tx
	}
	return n
}

// endedUnrecorded tells whether the job's run that was under way then ended with
// its lease.
func (h *harness) endedUnrecorded(id string, at time.Time) bool {
	h.t.Helper()
	return h.count(`SELECT count(*) FROM (SELECT kind FROM job_events WHERE job_id = $1 AND at >= $2
		AND kind IN ('settled', 'died') ORDER BY seq LIMIT 1) AS ending WHERE kind = 'died'`, id, at.UnixMilli()) > 0
}

// auditRuns looks for runs that begin after their job had its outcome, or
// while another goes on.
func (h *harness) auditRuns(r *Report) {
	h.t.Helper()
	again := h.ids(`SELECT DISTINCT s.job_id FROM job_events s WHERE s.kind = 'started' AND EXISTS (
		SELECT 1 FROM job_events f WHERE f.job_id = s.job_id AND f.seq < s.seq
		AND f.state IN ('done', 'failed', 'cancelled', 'expired', 'suppressed'))`)
	overlaps := h.ids(`SELECT DISTINCT job_id FROM (
		SELECT job_id, kind, lag(kind) OVER (PARTITION BY job_id ORDER BY seq) AS before
		FROM job_events WHERE kind IN ('started', 'settled', 'died')) AS runs
		WHERE kind = 'started' AND before = 'started'`)
	over := h.tally(`SELECT job_id, min(at) FROM job_events WHERE kind = 'settled' AND state IN ('done', 'failed')
		GROUP BY job_id`)
	byMail, afterwards := h.conversations(h.mail.Transactions(), over)
	r.RunAgain = len(union(again, afterwards))
	r.AtOnce = len(union(overlaps, byMail))
	for _, id := range union(union(again, afterwards), union(overlaps, byMail)) {
		h.tell("job %s ran again after its outcome, or twice at once:%s", id, h.history(id))
	}
}

// auditDismissed looks for runs that workers which were told to end did not end
// in good order: with an outcome, or given back and not charged. What the mail
// server refused is its own doing.
func (h *harness) auditDismissed(r *Report) {
	h.t.Helper()
	r.Dismissed = len(h.dismissed)
	left := h.ids(`SELECT s.job_id FROM job_events s JOIN LATERAL (
			SELECT kind, state, code, reply_code FROM job_events e WHERE e.job_id = s.job_id AND e.seq > s.seq
			AND e.kind IN ('started', 'settled', 'died') ORDER BY seq LIMIT 1) AS ending ON true
		WHERE s.kind = 'started' AND reverse(split_part(reverse(s.worker), '-', 2)) = ANY($1::text[])
		AND NOT (ending.kind = 'settled' AND (ending.state <> 'waiting' OR ending.code = '' OR ending.reply_code > 0))`,
		pids(h.dismissed))
	r.LeftBehind = len(left)
	for _, id := range left {
		h.tell("job %s was left by a worker that was told to end:%s", id, h.history(id))
	}
}

func pids(of []int) []string {
	out := make([]string, len(of))
	for i, pid := range of {
		out[i] = strconv.Itoa(pid)
	}
	return out
}

// conversations is the mail server's own sight: the jobs of which two attempts
// went on at once, and those with an attempt that began after the outcome, of
// which over has the time in milliseconds.
//
// An attempt of a worker that was suspended ends with the last that was heard
// of it before: its connection stays open, but it does nothing. So does that of
// one that was cut off, which gives up before its lease ends: what comes
// afterwards was in its machine's buffers. An attempt at the other hosts does
// not last as long.
func (h *harness) conversations(all []testkit.SMTPTransaction, over map[string]int) (atOnce, afterwards []string) {
	busy := map[string]time.Time{} // until when the latest of a job's attempts went on
	for _, tx := range all {
		id, ours := jobOf(tx.MessageID)
		if !ours {
			continue
		}
		if at, ok := over[id]; ok && tx.Began.UnixMilli() > int64(at) {
			afterwards = append(afterwards, id)
		}
		if before, ok := busy[id]; ok && before.After(tx.Began) {
			atOnce = append(atOnce, id)
		}
		if ended := h.ended(tx); ended.After(busy[id]) {
			busy[id] = ended
		}
	}
	return atOnce, afterwards
}

// ended is when an attempt ended.
func (h *harness) ended(tx testkit.SMTPTransaction) time.Time {
	for _, s := range h.stopped {
		if s.severed && tx.Began.Before(s.from) && (tx.Ended.IsZero() || !tx.Ended.Before(s.to)) {
			return s.from
		}
		if !s.severed && tx.Began.Before(s.from) && (tx.Ended.IsZero() || tx.Ended.After(s.from)) && !tx.Heard.After(s.from) {
			return tx.Heard
		}
	}
	if tx.Ended.IsZero() {
		return time.Now()
	}
	return tx.Ended
}

// taken counts by job the mails that the mail server took responsibility for.
func (h *harness) taken() map[string]int {
	out := map[string]int{}
	for _, m := range h.mail.Mails() {
		if id, ours := jobOf(m.MessageID); ours {
			out[id]++
		} else {
			h.t.Errorf("the mail server has a mail with the Message-ID %s", m.MessageID)
		}
	}
	return out
}

// jobOf is the job that a Message-ID is made from.
func jobOf(messageID string) (id string, ok bool) {
	id, ok = strings.CutSuffix(messageID, "@localhost>")
	return strings.TrimPrefix(id, "<"), ok
}

// described bounds how many lost jobs are told of one by one.
const described = 5

func (h *harness) describe(a accepted, state string) {
	if h.described++; h.described > described {
		return
	}
	h.tell("lost: a %s, job %s, accepted %s, must be %s and is %q:%s", a.kind, a.id, a.at.Format(time.StampMilli), a.want, state, h.history(a.id))
}

// since is a time of the database, in milliseconds, as the story counts it.
func (h *harness) since(ms int64) float64 { return time.UnixMilli(ms).Sub(h.began).Seconds() }

// history is a job's events, a line each.
func (h *harness) history(id string) string {
	var b strings.Builder
	h.query(`SELECT type || ', due', run_at FROM jobs WHERE id = $1`, func(scan func(...any) error) error {
		var what string
		var due int64
		err := scan(&what, &due)
		fmt.Fprintf(&b, " %s at %.1fs", what, h.since(due))
		return err
	}, id)
	h.query(`SELECT at, kind, state, run, worker, code, message FROM job_events WHERE job_id = $1 ORDER BY seq`,
		func(scan func(...any) error) error {
			var at int64
			var run int
			var kind, state, worker, code, message string
			err := scan(&at, &kind, &state, &run, &worker, &code, &message)
			fmt.Fprintf(&b, "\n    %6.1fs %s → %s, run %d of %s %s %s", h.since(at), kind, state, run, worker, code, message)
			return err
		}, id)
	return b.String()
}

func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}
