package work

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// A mail whose recipient was put on the list after it was accepted is not sent,
// unless it is essential and the recipient has only unsubscribed.
func TestEmailSuppressed(t *testing.T) {
	for name, test := range map[string]struct {
		category string
		reason   mail.Reason
		sent     bool
	}{
		"unsubscribed":            {"news", mail.Unsubscribe, false},
		"unsubscribed, essential": {"security", mail.Unsubscribe, true},
		"bounced, essential":      {"security", mail.Bounce, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewSMTP(t)
			listed := mail.Suppression{Address: "user@example.org", Reason: test.reason, Note: "since spring"}
			r := newRigOver(t, newStore(), done, Builtin(mailOver(newSender(t, srv), listed))...)
			e := welcome()
			e.Rcpt, e.To, e.Category = "User@Example.org", []string{"User@Example.org"}, test.category
			task := r.accept(tasks.EmailSend.Type, e)
			if v := r.Handle(t.Context(), task); !isAck(v) {
				t.Fatalf("verdict %+v", v)
			}
			j := r.find(task.ID)
			want := job.Suppressed
			if test.sent {
				want = job.Done
			}
			if j.State != want || len(srv.Mails()) > 0 != test.sent {
				t.Errorf("the job is %s (%s), and the server has %d mails", j.State, j.Message, len(srv.Mails()))
			}
			if !test.sent && (j.Code != job.CodeSuppressed || j.Attempts != 0 || !strings.Contains(j.Message, "since spring")) {
				t.Errorf("the job has %q after %d attempts: %s", j.Code, j.Attempts, j.Message)
			}
		})
	}
}

// While nobody can tell who gets no mail, nothing is sent, and nothing charged.
func TestEmailWhileTheListIsAway(t *testing.T) {
	srv := testkit.NewSMTP(t)
	list := &suppressions{}
	list.away.Store(true)
	r := newRigOver(t, newStore(), done, Builtin(Mail{Sender: newSender(t, srv), Suppressed: suppress.NewGate(list, mail.Categories{})})...)
	task := r.accept(tasks.EmailSend.Type, welcome())
	v := r.Handle(t.Context(), task)
	if j := r.find(task.ID); !v.Again || v.After < askAgain || j.State != job.Waiting || j.Attempts != 0 || len(srv.Mails()) != 0 {
		t.Errorf("verdict %+v, the job is %s after %d attempts, %d mails", v, j.State, j.Attempts, len(srv.Mails()))
	}
}

// A server that says that the mailbox does not exist suppresses the address with
// the outcome; one that says that it is full does not.
func TestEmailBadAddressSuppresses(t *testing.T) {
	for reply, suppressed := range map[string]bool{"5.1.1 nobody": true, "5.2.2 full": false, "no such user": false} {
		t.Run(reply, func(t *testing.T) {
			srv := testkit.NewSMTP(t)
			srv.On(testkit.SMTPAtRcpt, testkit.SMTPReply(550, reply))
			r := newRigOver(t, newStore(), done, Builtin(mailOver(newSender(t, srv)))...)
			task := r.accept(tasks.EmailSend.Type, welcome())
			r.Handle(t.Context(), task)
			j, effects := r.find(task.ID), r.store.Effects()
			if j.State != job.Failed || j.ReplyCode != 550 || len(effects) > 0 != suppressed {
				t.Fatalf("the job is %s (%s), with the effects %v", j.State, j.Message, effects)
			}
			if !suppressed {
				return
			}
			want := mail.Suppression{Address: "user@example.org", Reason: mail.Bounce, Job: string(task.ID), Note: "550 5.1.1 nobody"}
			if effects[0] != want {
				t.Errorf("the effect is %+v, want %+v", effects[0], want)
			}
		})
	}
}
