package work

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/mail/template/templatetest"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// people are recipients, by id and address.
type people struct {
	recipient.Store
	all []recipient.Preferences
	err error
}

func (p *people) OfIDs(_ context.Context, ids []string) (map[string]recipient.Preferences, error) {
	return p.find(ids, func(p recipient.Preferences) string { return p.ID })
}

func (p *people) OfAddresses(_ context.Context, addresses []string) (map[string]recipient.Preferences, error) {
	return p.find(addresses, func(p recipient.Preferences) string { return p.Address })
}

func (p *people) find(keys []string, key func(recipient.Preferences) string) (map[string]recipient.Preferences, error) {
	out := map[string]recipient.Preferences{}
	for _, k := range keys {
		for _, prefs := range p.all {
			if key(prefs) == k {
				out[k] = prefs
			}
		}
	}
	return out, p.err
}

func preferences(p *people) *recipient.Service {
	return recipient.New(recipient.Options{
		Store: p, Categories: mail.Categories{Names: []string{"security"}}, Log: slog.New(slog.DiscardHandler),
	})
}

// nobody has preferences.
func nobody() *recipient.Service { return preferences(&people{}) }

// mailAs sends as the people prefer.
func mailAs(s *mail.Sender, p *people) Mail {
	m := mailOver(s)
	m.Preferences = preferences(p)
	return m
}

// calm has news gathered, wants no offers, and is quiet for the next hours.
func calm() recipient.Preferences {
	now := time.Now().UTC()
	return recipient.Preferences{ID: "ann", Address: "user@example.org", Settings: recipient.Settings{
		TimeZone:   "UTC",
		QuietHours: &recipient.QuietHours{From: now.Add(-2 * time.Hour).Format("15:04"), To: now.Add(2 * time.Hour).Format("15:04")},
		Categories: map[string]recipient.Choice{"news": recipient.Digest, "offers": recipient.Off},
		Digest:     recipient.DigestTimes{Window: recipient.Daily, At: "08:00"},
	}}
}

// A mail is sent as its recipient wants it at this moment, whatever was so when
// it was accepted.
func TestEmailAsPreferred(t *testing.T) {
	for _, test := range []struct {
		name, category string
		urgent         bool
		state          job.State
		sent           int
		words          string
	}{
		{"essential by name", "security", false, job.Done, 1, "accepted"},
		{"essential without a name", "", false, job.Done, 1, "accepted"},
		{"off", "offers", false, job.Suppressed, 0, "preference"},
		{"off, though urgent", "offers", true, job.Suppressed, 0, "preference"},
		{"quiet hours", "welcome", false, job.Waiting, 0, "quiet hours end at"},
		{"quiet hours, but urgent", "welcome", true, job.Done, 1, "accepted"},
		{"digest, but urgent", "news", true, job.Done, 1, "accepted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := testkit.NewSMTP(t)
			r := newRigOver(t, newStore(), done, Builtin(mailAs(newSender(t, srv), &people{all: []recipient.Preferences{calm()}}))...)
			m := welcome()
			m.Rcpt, m.Category, m.Urgent = "User@Example.org", test.category, test.urgent
			task := r.accept(tasks.EmailSend.Type, m)
			v := r.Handle(t.Context(), task)
			j := r.find(task.ID)
			if j.State != test.state || !strings.Contains(j.Message, test.words) || len(srv.Mails()) != test.sent {
				t.Errorf("the job is %s, %q, and %d mails are sent", j.State, j.Message, len(srv.Mails()))
			}
			if j.State != job.Waiting {
				return
			}
			if wait := time.Until(j.RunAt); !v.Again || j.Attempts != 0 || j.Code != "" || wait < time.Hour || wait > 3*time.Hour {
				t.Errorf("it comes again in %v (%+v) after %d attempts with %q", wait, v, j.Attempts, j.Code)
			}
		})
	}
}

// pinned pins a mail to its built-in template, and returns what has that.
func pinned(t *testing.T, e *tasks.Email) Templates {
	t.Helper()
	library, err := template.NewLibrary(template.Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := template.NewShelf(&templatetest.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	c := &job.Candidate{New: &job.New{}, Payload: e}
	if err := template.NewPinner(library, shelf, (*mail.Links)(nil)).Admit(t.Context(), []*job.Candidate{c}); err != nil || c.Err != nil {
		t.Fatal(err, c.Err)
	}
	return shelf
}

// What is gathered is done, and its item is written with that.
func TestGathered(t *testing.T) {
	mails := mailAs(nil, &people{all: []recipient.Preferences{calm()}})
	m := welcome()
	m.Category, m.Text = "news", "Thanks\nfor  signing up. "+strings.Repeat("x", 1000)
	// It has its digest's link to unsubscribe, and none of its own.
	templated := tasks.Email{
		Rcpt: m.Rcpt, To: m.To, Category: "news", Template: "receipt",
		Data: json.RawMessage(`{"product":"Tea","number":"7","date":"3 March","total":"€12","items":[{"what":"Tea","amount":"€12"}]}`),
	}
	mails.Templates = pinned(t, &templated)
	mails.Links = mail.NewLinks("https://post.example.com", "0123456789abcdef0123456789abcdef", mail.Categories{})
	for _, test := range []struct {
		name        string
		binding     Binding
		payload     any
		title, text string
	}{
		{"mail", Email(mails), m, "Welcome!", "Thanks for signing up. x"},
		{"mail of a template", Email(mails), templated, "Your receipt from Tea: €12", "Thank you for your payment Receipt 7, 3 March - Tea: €12 Total: €12 -- Tea Please keep this mail for your records."},
		{"notification", Notification(mails.Preferences), tasks.Notification{ReceiverID: "ann", Message: "Bob likes it.", Category: "news"}, "Bob likes it.", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			raw, err := json.Marshal(test.payload)
			if err != nil {
				t.Fatal(err)
			}
			run := &Run{Job: job.Job{ID: job.NewID()}}
			o := test.binding.carry(t.Context(), run, raw)
			if o.Kind != job.OutcomeDone || !strings.Contains(o.Message, "gathered for the daily digest of ") || len(o.Effects) != 1 {
				t.Fatalf("the outcome is %+v", o)
			}
			item, ok := o.Effects[0].(recipient.Item)
			if !ok || item.Job != run.Job.ID || item.For.ID != "ann" || item.Category != "news" || item.Title != test.title {
				t.Errorf("the item is %+v", item)
			}
			if !strings.HasPrefix(item.Text, test.text) || len([]rune(item.Text)) > 300 || strings.Contains(item.Text, "nsubscribe") {
				t.Errorf("its text is %q", item.Text)
			}
		})
	}
}

// Notifications have no quiet hours; a category that is off is for them too.
func TestNotificationAsPreferred(t *testing.T) {
	r := newRigOver(t, newStore(), done, Builtin(mailAs(nil, &people{all: []recipient.Preferences{calm()}}))...)
	for category, want := range map[string]job.State{"welcome": job.Done, "offers": job.Suppressed, "": job.Done} {
		task := r.accept(tasks.NotificationSend.Type, tasks.Notification{ReceiverID: "ann", Message: "Hello.", Category: category})
		r.Handle(t.Context(), task)
		if j := r.find(task.ID); j.State != want {
			t.Errorf("of category %q it is %s: %s", category, j.State, j.Message)
		}
	}
}

// While nobody can say what the recipient wants, nothing is sent and nothing is
// charged.
func TestPreferencesAway(t *testing.T) {
	srv := testkit.NewSMTP(t)
	r := newRigOver(t, newStore(), done, Builtin(mailAs(newSender(t, srv), &people{err: errAway}))...)
	m := welcome()
	m.Category = "news"
	task := r.accept(tasks.EmailSend.Type, m)
	r.Handle(t.Context(), task)
	if j := r.find(task.ID); j.State != job.Waiting || j.Attempts != 0 || len(srv.Mails()) != 0 {
		t.Errorf("the job is %s after %d attempts: %s", j.State, j.Attempts, j.Message)
	}
}
