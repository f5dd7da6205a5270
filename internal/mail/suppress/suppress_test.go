package suppress_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/tasks"
)

// list is a mail.Suppressions that is only read.
type list struct {
	mail.Suppressions
	all   []mail.Suppression
	err   error
	asked [][]string
}

func (l *list) Find(_ context.Context, addresses ...string) (out []mail.Suppression, err error) {
	l.asked = append(l.asked, addresses)
	for _, s := range l.all {
		if slices.Contains(addresses, s.Address) {
			out = append(out, s)
		}
	}
	return out, l.err
}

func candidate(rcpt, category string) *job.Candidate {
	return &job.Candidate{New: &job.New{Type: tasks.EmailSend.Name}, Payload: &tasks.Email{Rcpt: rcpt, Category: category}}
}

func TestAdmit(t *testing.T) {
	l := &list{all: []mail.Suppression{
		{Address: "bounced@example.com", Reason: mail.Bounce, Note: "550 5.1.1"},
		{Address: "ann@xn--bcher-kva.example", Category: "news", Reason: mail.Unsubscribe},
	}}
	gate := suppress.NewGate(l, mail.Categories{Names: []string{"security"}})
	jobs := []*job.Candidate{
		candidate("free@example.com", "news"),
		candidate("Bounced@Example.com", ""),
		candidate("Ann@Bücher.example", "news"),
		candidate("ann@bücher.example", "offers"),
		candidate("bounced@example.com", "security"),
		candidate("x@exa_mple..com", ""),
	}
	if err := gate.Admit(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "bounce, 550 5.1.1", "category news: unsubscribe", "", "bounce, 550 5.1.1", ""} {
		n := jobs[i].New
		if (n.State == job.Suppressed) != (want != "") || !strings.Contains(n.Message, want) || strings.Contains(n.Message, "@") {
			t.Errorf("job %d is %q: %q, want %q", i, n.State, n.Message, want)
		}
		if refused := jobs[i].Err != nil; refused != (i == 5) {
			t.Errorf("job %d is refused: %v", i, jobs[i].Err)
		}
	}
	if len(l.asked) != 1 || len(l.asked[0]) != 3 {
		t.Errorf("the list was asked for %q", l.asked)
	}
	l.err = job.Errorf(job.CodeTemporary, "away")
	if err := gate.Admit(t.Context(), []*job.Candidate{candidate("a@example.com", "")}); job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("with the list away: %v", err)
	}
}

func TestBlocking(t *testing.T) {
	l := &list{all: []mail.Suppression{{Address: "a@example.com", Reason: mail.Unsubscribe}}}
	gate := suppress.NewGate(l, mail.Categories{})
	if s, blocked, err := gate.Blocking(t.Context(), "A@Example.com", "news"); err != nil || !blocked || s.Reason != mail.Unsubscribe {
		t.Errorf("got %+v, %v, %v", s, blocked, err)
	}
	if _, blocked, err := gate.Blocking(t.Context(), "a@example.com", ""); err != nil || blocked {
		t.Errorf("a mail of no category is blocked: %v, %v", blocked, err)
	}
	if _, blocked, err := gate.Blocking(t.Context(), "nobody", "news"); err != nil || blocked {
		t.Errorf("what is no address: %v, %v", blocked, err)
	}
}
