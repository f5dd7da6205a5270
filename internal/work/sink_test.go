package work

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// TestEmailIntoSink: a rehearsed mail is built and goes nowhere, into no digest
// either, and is not measured; one that cannot be built fails as a real one would.
func TestEmailIntoSink(t *testing.T) {
	srv := testkit.NewSMTP(t)
	reg := prometheus.NewRegistry()
	sender := measuringSender(t, srv, reg)
	m := mailAs(sender, &people{all: []recipient.Preferences{calm()}})
	m.Suppressed = suppress.NewGate(&suppressions{all: []mail.Suppression{{Address: "gone@example.org", Reason: mail.Bounce}}}, mail.Categories{})
	m.Files = files{}
	r := newRigOver(t, newStore(), done, Builtin(m)...)
	for name, c := range map[string]struct {
		change func(*tasks.Email)
		state  job.State
		words  string
	}{
		"built":      {func(*tasks.Email) {}, job.Done, "sink: built, checked and dropped"},
		"gathered":   {func(e *tasks.Email) { e.Category = "news" }, job.Done, "sink: it would be gathered for the daily digest"},
		"off":        {func(e *tasks.Email) { e.Category = "offers" }, job.Suppressed, "preference"},
		"suppressed": {func(e *tasks.Email) { e.Rcpt = "gone@example.org" }, job.Suppressed, "suppressed for all mail: bounce"},
		"quiet":      {func(e *tasks.Email) { e.Category = "welcome" }, job.Waiting, "quiet hours end at"},
		"no file":    {func(e *tasks.Email) { e.Attachments = []tasks.Attachment{{ID: strings.Repeat("0", 64), Name: "a"}} }, job.Failed, "there is no file"},
	} {
		e := welcome()
		e.Sink = true
		c.change(&e)
		task := r.accept(tasks.EmailSend.Type, e)
		r.alter(task.ID, func(j *job.Job, now time.Time) { j.DueAt = now.Add(-time.Minute) })
		r.Handle(t.Context(), task)
		if j := r.find(task.ID); j.State != c.state || !strings.Contains(j.Message, c.words) || j.NoReturnRun != 0 {
			t.Errorf("%s: the job is %s, %q, no-return run %d", name, j.State, j.Message, j.NoReturnRun)
		}
	}
	if n := len(r.store.Effects()); n != 0 || srv.Seen(testkit.SMTPAtMail) != 0 {
		t.Errorf("%d effects were written, and the server was asked %d times", n, srv.Seen(testkit.SMTPAtMail))
	}
	if got := timesToSent(t, reg); len(got) != 0 {
		t.Errorf("measured were %v", got)
	}
}

// TestTimeToInbox measures from when a mail was due until the server's 250, by
// category where that is one of those to be told apart.
func TestTimeToInbox(t *testing.T) {
	srv := testkit.NewSMTP(t)
	reg := prometheus.NewRegistry()
	sender := measuringSender(t, srv, reg)
	r := newRigOver(t, newStore(), done, Builtin(mailOver(sender))...)
	send := func(category string, since time.Duration) {
		e := welcome()
		e.Category = category
		task := r.accept(tasks.EmailSend.Type, e)
		r.alter(task.ID, func(j *job.Job, now time.Time) {
			j.CreatedAt, j.DueAt = now.Add(-48*time.Hour), now.Add(-since) // it was for later
		})
		r.Handle(t.Context(), task)
	}
	send("reset", 2*time.Hour)
	send("reset", 3*time.Hour)
	send("news", time.Hour)
	send("", time.Hour)
	srv.Once(testkit.SMTPAtRcpt, testkit.SMTPReply(451, "4.3.0 later"))
	send("reset", time.Hour) // which the server does not take
	got := timesToSent(t, reg)
	for category, want := range map[string]struct {
		count uint64
		sum   time.Duration
	}{"reset": {2, 5 * time.Hour}, "other": {1, time.Hour}, "none": {1, time.Hour}} {
		h := got[category]
		if over := h.sum - want.sum.Seconds(); h.count != want.count || over < 0 || over > 4*patience.Seconds() {
			t.Errorf("of %q there are %d, %v s together", category, h.count, h.sum)
		}
	}
	if len(got) != 3 {
		t.Errorf("measured were %v", got)
	}
}

type measured struct {
	count uint64
	sum   float64 // seconds
}

// timesToSent are the histograms of the time to inbox, by category.
func timesToSent(t *testing.T, reg *prometheus.Registry) map[string]measured {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]measured{}
	for _, f := range families {
		if f.GetName() != "postrider_mail_accept_to_sent_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			out[m.GetLabel()[0].GetValue()] = measured{m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()}
		}
	}
	return out
}

// measuringSender tells the category "reset" apart.
func measuringSender(t *testing.T, srv *testkit.SMTP, reg *prometheus.Registry) *mail.Sender {
	t.Helper()
	s, err := mail.New(mail.Options{
		Config:  mail.Config{URL: srv.URL(), From: "shop@example.com", Timeout: patience},
		Senders: 1, Measured: []string{"reset"}, Log: testkit.Logger(t), Metrics: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
