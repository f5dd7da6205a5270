package work

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/mail/template/templatetest"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func newSender(t *testing.T, srv *testkit.SMTP) *mail.Sender { return newSenderURL(t, srv.URL()) }

func newSenderURL(t *testing.T, url string) *mail.Sender {
	t.Helper()
	s, err := mail.New(mail.Options{
		Config:  mail.Config{URL: url, From: "shop@example.com", Timeout: patience},
		Senders: 1, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func newMailRig(t *testing.T) (*rig, *testkit.SMTP) {
	srv := testkit.NewSMTP(t)
	return newRigOver(t, newStore(), done, Builtin(mailOver(newSender(t, srv)))...), srv
}

// mailOver sends to everyone whom the list lets through.
func mailOver(s *mail.Sender, list ...mail.Suppression) Mail {
	return Mail{Sender: s, Suppressed: suppress.NewGate(&suppressions{all: list}, mail.Categories{Names: []string{"security"}}), Preferences: nobody()}
}

// suppressions is a list that is only read.
type suppressions struct {
	mail.Suppressions
	all  []mail.Suppression
	away atomic.Bool
}

func (s *suppressions) Find(_ context.Context, addresses ...string) (out []mail.Suppression, err error) {
	if s.away.Load() {
		return nil, errAway
	}
	for _, one := range s.all {
		if slices.Contains(addresses, one.Address) {
			out = append(out, one)
		}
	}
	return out, nil
}

// files are stored files by id; one named "away" cannot be had now.
type files map[string]string

func (f files) Fetch(_ context.Context, ids []string) (map[string][]byte, func(), error) {
	out := map[string][]byte{}
	for _, id := range ids {
		content, there := f[id]
		switch {
		case content == "away":
			return nil, nil, job.Errorf(job.CodeTemporary, "the database does not answer")
		case content == "full":
			return nil, nil, job.Errorf(job.CodeRateLimited, "no room")
		case !there:
			return nil, nil, job.Errorf(job.CodeNotFound, "there is no file %s", id)
		}
		out[id] = []byte(content)
	}
	return out, func() { f["released"] += "x" }, nil
}

func welcome() tasks.Email {
	return tasks.Email{
		Rcpt: "user@example.org", To: []string{"User <user@example.org>"}, Cc: []string{"other@example.org"},
		ReplyTo: "help@example.com", Subject: "Welcome!", Text: "Thanks for signing up.", HTML: "<p>Thanks",
		Headers:     map[string]string{"X-Tag": "signup"},
		Attachments: []tasks.Attachment{{Name: "terms.txt", ContentType: "text/plain", Content: []byte("be kind")}},
	}
}

func TestEmail(t *testing.T) {
	r, srv := newMailRig(t)
	task := r.accept(tasks.EmailSend.Type, welcome())
	r.alter(task.ID, func(j *job.Job, now time.Time) { j.CreatedAt, j.DueAt = now.Add(-48*time.Hour), now.Add(-time.Hour) })
	if v := r.Handle(t.Context(), task); !isAck(v) {
		t.Fatalf("verdict %+v", v)
	}
	j := r.find(task.ID)
	if j.State != job.Done || j.ReplyCode != 250 || j.Message != "127.0.0.1: 2.0.0 accepted" || j.NoReturnRun != 1 {
		t.Errorf("the job is %s with %d %q, no-return run %d", j.State, j.ReplyCode, j.Message, j.NoReturnRun)
	}
	m := srv.Mails()[0]
	if len(m.To) != 1 || m.To[0] != "user@example.org" || !strings.Contains(m.MessageID, string(task.ID)) {
		t.Errorf("to %q, Message-ID %s", m.To, m.MessageID)
	}
	for _, want := range []string{
		"Subject: Welcome!", "To: \"User\" <user@example.org>", "Cc: <other@example.org>", "Reply-To: <help@example.com>",
		"X-Tag: signup", "Date: " + j.DueAt.Format(time.RFC1123Z), "Thanks for signing up.", "<p>Thanks", "filename=terms.txt",
	} {
		if !strings.Contains(string(m.Data), want) {
			t.Errorf("the mail lacks %q:\n%s", want, m.Data)
		}
	}
}

// TestEmailFromTemplate renders what the job is pinned to, when it is sent.
func TestEmailFromTemplate(t *testing.T) {
	log, _ := testkit.CaptureLog(t)
	library, err := template.NewLibrary(template.Options{Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	sources := &templatetest.Sources{}
	shelf, err := template.NewShelf(sources)
	if err != nil {
		t.Fatal(err)
	}
	srv := testkit.NewSMTP(t)
	m := mailOver(newSender(t, srv))
	m.Templates = shelf
	r := newRigOver(t, newStore(), done, Builtin(m)...)
	mail := welcome()
	mail.Subject, mail.Text, mail.HTML, mail.Cc = "", "", "", nil
	mail.Template, mail.Locale = "welcome", "de"
	mail.Data = json.RawMessage(`{"name":"Ann","product":"Example","url":"https://example.com/"}`)
	mail.TemplateHash = strings.Repeat("0", 64)

	lost := r.accept(tasks.EmailSend.Type, mail)
	if v := r.Handle(t.Context(), lost); !v.Again || r.find(lost.ID).Code != job.CodeTemporary || r.find(lost.ID).Attempts != 1 {
		t.Errorf("without its template, the job is %+v", r.find(lost.ID))
	}
	sources.Fail(job.Errorf(job.CodeTemporary, "away"))
	away := r.accept(tasks.EmailSend.Type, mail)
	if v := r.Handle(t.Context(), away); !v.Again || r.find(away.ID).Attempts != 0 {
		t.Errorf("while SQL is away, the job is %+v", r.find(away.ID))
	}
	sources.Fail(nil)

	c := &job.Candidate{New: &job.New{}, Payload: &mail}
	if err := template.NewPinner(library, shelf, m.Links).Admit(t.Context(), []*job.Candidate{c}); err != nil || c.Err != nil {
		t.Fatal(err, c.Err)
	}
	task := r.accept(tasks.EmailSend.Type, mail)
	if v := r.Handle(t.Context(), task); !isAck(v) || r.find(task.ID).State != job.Done {
		t.Fatalf("verdict %+v, the job is %+v", v, r.find(task.ID))
	}
	for _, want := range []string{"Subject: Willkommen bei Example, Ann", "Willkommen, Ann\r\n", "<h1 style=3D"} {
		if !strings.Contains(string(srv.Mails()[0].Data), want) {
			t.Errorf("the mail lacks %q:\n%s", want, srv.Mails()[0].Data)
		}
	}

	mail.Subject = "My own"
	if r.Handle(t.Context(), r.accept(tasks.EmailSend.Type, mail)); !strings.Contains(string(srv.Mails()[1].Data), "Subject: My own") {
		t.Errorf("the mail lacks its own subject:\n%s", srv.Mails()[1].Data)
	}

	mail.Data = json.RawMessage(`{}`) // which no release would have accepted
	bad := r.accept(tasks.EmailSend.Type, mail)
	r.Handle(t.Context(), bad)
	if j := r.find(bad.ID); j.State != job.Failed || j.NoReturnRun != 0 || !strings.Contains(j.Message, "data.product must be given") {
		t.Errorf("the job is %s after %q", j.State, j.Message)
	}
}

// TestEmailReplies turns the server's words into outcomes.
func TestEmailReplies(t *testing.T) {
	for _, test := range []struct {
		name   string
		verb   testkit.SMTPVerb
		action testkit.SMTPAction
		state  job.State
		code   job.Code
		reply  int
	}{
		{"4xx", testkit.SMTPAtRcpt, testkit.SMTPReply(451, "4.3.0 later"), job.Waiting, job.CodeTemporary, 451},
		{"5xx", testkit.SMTPAtRcpt, testkit.SMTPReply(550, "5.1.1 nobody"), job.Failed, job.CodePermanent, 550},
		{"cut before the dot", testkit.SMTPAtData, testkit.SMTPClose(), job.Waiting, job.CodeTemporary, 0},
		{"4xx after the dot", testkit.SMTPAtDot, testkit.SMTPReply(452, "4.3.1 full"), job.Waiting, job.CodeTemporary, 452},
		{"5xx after the dot", testkit.SMTPAtDot, testkit.SMTPReply(554, "5.7.1 spam"), job.Failed, job.CodePermanent, 554},
		{"cut after the dot", testkit.SMTPAtDot, testkit.SMTPClose(), job.Waiting, job.CodeAmbiguous, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, srv := newMailRig(t)
			srv.On(test.verb, test.action)
			task := r.accept(tasks.EmailSend.Type, welcome())
			r.Handle(t.Context(), task)
			j := r.find(task.ID)
			if j.State != test.state || j.Code != test.code || j.ReplyCode != test.reply || j.Attempts != 1 {
				t.Errorf("the job is %s with %q and %d after %d attempts: %s", j.State, j.Code, j.ReplyCode, j.Attempts, j.Message)
			}
		})
	}
}

// TestEmailFiles: a stored file is in the mail, one that is gone ends the job,
// and a database that is away puts it off.
func TestEmailFiles(t *testing.T) {
	id := func(c string) string { return strings.Repeat(c, 64) }
	srv := testkit.NewSMTP(t)
	stored := files{id("a"): "a stored picture", id("b"): "away", id("d"): "full"}
	m := mailOver(newSender(t, srv))
	m.Files = stored
	r := newRigOver(t, newStore(), done, Builtin(m)...)
	for name, want := range map[string]struct {
		id    string
		state job.State
		code  job.Code
	}{
		"there": {id("a"), job.Done, ""}, "away": {id("b"), job.Waiting, job.CodeTemporary}, "gone": {id("c"), job.Failed, job.CodePermanent}, "full": {id("d"), job.Waiting, job.CodeRateLimited},
	} {
		e := welcome()
		e.Attachments = append(e.Attachments, tasks.Attachment{ID: want.id, Name: "logo.png", ContentType: "image/png", Inline: true, ContentID: "logo"})
		task := r.accept(tasks.EmailSend.Type, e)
		r.Handle(t.Context(), task)
		if j := r.find(task.ID); j.State != want.state || j.Code != want.code {
			t.Errorf("%s: the job is %s with %q: %s", name, j.State, j.Code, j.Message)
		}
	}
	mails := srv.Mails()
	if len(mails) != 1 || stored["released"] != "x" {
		t.Fatalf("%d mails, released %q", len(mails), stored["released"])
	}
	for _, part := range []string{"Content-ID: <logo>", base64.StdEncoding.EncodeToString([]byte("a stored picture")), "filename=terms.txt"} {
		if !strings.Contains(string(mails[0].Data), part) {
			t.Errorf("the mail lacks %q:\n%s", part, mails[0].Data)
		}
	}
}

// TestEmailFailover: a provider that fails costs no attempt, and the history
// names the one that took the mail.
func TestEmailFailover(t *testing.T) {
	bad, good := testkit.NewSMTP(t), testkit.NewSMTP(t)
	bad.On(testkit.SMTPAtMail, testkit.SMTPReplyAndClose(421, "4.3.2 going down"))
	sender := newSenderURL(t, bad.URL()+"&name=bad&priority=1 "+good.URL()+"&name=good")
	r := newRigOver(t, newStore(), done, Builtin(mailOver(sender))...)
	task := r.accept(tasks.EmailSend.Type, welcome())
	if v := r.Handle(t.Context(), task); !isAck(v) {
		t.Fatalf("verdict %+v", v)
	}
	j := r.find(task.ID)
	if j.State != job.Done || j.Attempts != 1 || j.NoReturnRun != 1 || !strings.HasPrefix(j.Message, "good (127.0.0.1:") || !strings.HasSuffix(j.Message, "): 2.0.0 accepted") {
		t.Errorf("the job is %s after %d attempts, no-return run %d: %s", j.State, j.Attempts, j.NoReturnRun, j.Message)
	}
	if bad.Seen(testkit.SMTPAtMail) != 1 || len(good.Mails()) != 1 {
		t.Errorf("the bad server was asked %d times, the good one has %d mails", bad.Seen(testkit.SMTPAtMail), len(good.Mails()))
	}
}

// TestEmailDeferred: a mail that no provider may be offered now waits, uncharged.
func TestEmailDeferred(t *testing.T) {
	r, srv := newMailRig(t)
	srv.Once(testkit.SMTPAtRcpt, testkit.SMTPReply(450, "4.7.1 too many mails"))
	r.Handle(t.Context(), r.accept(tasks.EmailSend.Type, welcome()))
	task := r.accept(tasks.EmailSend.Type, welcome())
	v := r.Handle(t.Context(), task)
	j := r.find(task.ID)
	if !v.Again || v.After < time.Second || j.State != job.Waiting || j.Code != job.CodeRateLimited || j.Attempts != 0 {
		t.Errorf("verdict %+v, the job is %s with %q after %d attempts", v, j.State, j.Code, j.Attempts)
	}
	if got := srv.Seen(testkit.SMTPAtRcpt); got != 1 {
		t.Errorf("the server was asked %d times", got)
	}
}

// TestEmailReplyLost cuts the line after the server has taken the mail: it
// goes out again, and is recognisable as the same.
func TestEmailReplyLost(t *testing.T) {
	r, srv := newMailRig(t)
	srv.Once(testkit.SMTPAtDot, testkit.SMTPClose().Accepting())
	task := r.accept(tasks.EmailSend.Type, welcome())
	v := r.Handle(t.Context(), task)
	if j := r.find(task.ID); !v.Again || v.After < time.Second || j.State != job.Waiting || j.Code != job.CodeAmbiguous {
		t.Fatalf("verdict %+v, job %s with %q", v, j.State, j.Code)
	}
	r.alter(task.ID, func(j *job.Job, now time.Time) { j.RunAt = now })
	if v := r.Handle(t.Context(), task); !isAck(v) || r.find(task.ID).State != job.Done {
		t.Errorf("verdict %+v, job %s", v, r.find(task.ID).State)
	}
	mails := srv.Mails()
	if len(mails) != 2 || mails[0].MessageID != mails[1].MessageID {
		t.Fatalf("%d mails", len(mails))
	}
	if date(mails[0]) == "" || date(mails[0]) != date(mails[1]) {
		t.Errorf("dates %q and %q", date(mails[0]), date(mails[1]))
	}
}

func date(m testkit.SMTPMail) string {
	for line := range strings.Lines(string(m.Data)) {
		if d, ok := strings.CutPrefix(line, "Date: "); ok {
			return d
		}
	}
	return ""
}

// TestEmailInterrupted ends the worker's run of a mail at verbs before and
// after the point of no return.
func TestEmailInterrupted(t *testing.T) {
	for _, test := range []struct {
		name    string
		verb    testkit.SMTPVerb
		cause   error
		state   job.State
		code    job.Code
		charged int
	}{
		{"cancel at DATA", testkit.SMTPAtData, ErrCancelRequested, job.Cancelled, job.CodeCancelled, 0},
		{"shutdown at DATA", testkit.SMTPAtData, ErrShutdown, job.Waiting, "", 0},
		{"cancel at the dot", testkit.SMTPAtDot, ErrCancelRequested, job.Cancelled, job.CodeAmbiguous, 1},
		{"shutdown at the dot", testkit.SMTPAtDot, ErrShutdown, job.Waiting, job.CodeAmbiguous, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, srv := newMailRig(t)
			srv.On(test.verb, testkit.SMTPHang())
			task := r.accept(tasks.EmailSend.Type, welcome())
			verdict := r.handle(task)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := srv.WaitVerb(ctx, test.verb, 1); err != nil {
				t.Fatal(err)
			}
			if test.cause == ErrShutdown {
				hurry, cancel := context.WithCancel(ctx)
				cancel()
				if err := r.Shutdown(hurry); err != nil {
					t.Error(err)
				}
			} else {
				r.alter(task.ID, requestCancel)
				r.CancelHint(task.ID)
			}
			select {
			case <-verdict:
			case <-ctx.Done():
				t.Fatal("the handler did not return")
			}
			j := r.find(task.ID)
			if j.State != test.state || j.Code != test.code || j.Attempts != test.charged {
				t.Errorf("the job is %s with %q after %d attempts: %s", j.State, j.Code, j.Attempts, j.Message)
			}
		})
	}
}

// TestEmailAborted has the run taken over just before the final dot: the
// server must not get it.
func TestEmailAborted(t *testing.T) {
	r, srv := newMailRig(t)
	task := r.accept(tasks.EmailSend.Type, welcome())
	r.store.on("PassNoReturn", func(context.Context) error { r.alter(task.ID, bury); return nil })
	if v := r.Handle(t.Context(), task); v.Reason != "left" {
		t.Errorf("verdict %+v", v)
	}
	if srv.Seen(testkit.SMTPAtDot) != 0 || len(srv.Mails()) != 0 {
		t.Error("the mail went out")
	}
	if j := r.find(task.ID); j.State != job.Waiting || j.Attempts != 0 {
		t.Errorf("the job is %s after %d attempts", j.State, j.Attempts)
	}
}

func TestNotification(t *testing.T) {
	r, _ := newMailRig(t)
	task := r.accept(tasks.NotificationSend.Type, tasks.Notification{Room: "lobby", Message: "hello", Data: []byte(`{"a":1}`)})
	if v := r.Handle(t.Context(), task); !isAck(v) || r.find(task.ID).State != job.Done {
		t.Fatalf("verdict %+v, job %s", v, r.find(task.ID).State)
	}
	effects := r.store.Effects()
	if len(effects) != 1 {
		t.Fatalf("%d effects", len(effects))
	}
	n := effects[0].(inbox.Notification)
	if n.ID != task.ID || n.Stream != "room:lobby" || n.Type != "info" || n.Message != "hello" || string(n.Data) != `{"a":1}` {
		t.Errorf("notification %+v", n)
	}
}

func TestHeartbeat(t *testing.T) {
	r, _ := newMailRig(t)
	task := r.accept(tasks.LogHeartbeat.Type, tasks.Heartbeat{Message: "thump"})
	if v := r.Handle(t.Context(), task); !isAck(v) || r.logs.Count("msg=heartbeat") != 1 || r.logs.Count("message=thump") != 1 {
		t.Errorf("verdict %+v, log:\n%s", v, r.logs)
	}
}

func TestNoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOver(t, newStore(), done, Noop(), NoopEphemeral())
		for _, ms := range []int64{0, 700} {
			began := time.Now()
			v := r.Handle(t.Context(), r.accept(tasks.Noop.Type, tasks.Nothing{SleepMS: ms}))
			if took := time.Since(began); !isAck(v) || took.Milliseconds() != ms {
				t.Errorf("verdict %+v after %v, want %d ms", v, took, ms)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		v := r.Handle(ctx, job.Task{ID: job.NewID(), Type: tasks.NoopEphemeral.Name, Queue: "default", Payload: []byte(`{"sleep_ms":9000}`)})
		if v.Err == nil || time.Since(began) != time.Second {
			t.Errorf("verdict %+v after %v", v, time.Since(began))
		}
	})
}
