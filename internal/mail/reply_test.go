package mail

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

func TestBadAddress(t *testing.T) {
	tests := []struct {
		code     int
		text     string
		kind     Kind
		enhanced string
		bad      bool
	}{
		{550, "5.1.1 no such user", Permanent, "5.1.1", true},
		{550, "5.1.2 no such host", Permanent, "5.1.2", true},
		{553, "5.1.3 syntax", Permanent, "5.1.3", true},
		{556, "5.1.10 null MX", Permanent, "5.1.10", true},
		{551, "5.1.6 moved", Permanent, "5.1.6", true},
		{550, "5.1.0 something about the address", Permanent, "5.1.0", false},
		{550, "5.1.7 the sender's address", Permanent, "5.1.7", false},
		{550, "5.1.8 the sender's domain", Permanent, "5.1.8", false},
		{550, "5.7.1 relaying denied", Permanent, "5.7.1", false},
		{550, "5.2.1 disabled", Permanent, "5.2.1", false},
		{550, "no such user", Permanent, "", false},
		{551, "not here", Permanent, "", false},
		{553, "not in my list of rcpthosts", Permanent, "", false},
		{550, "5.1.1.1 odd", Permanent, "", false},
		{450, "4.1.1 greylisted", Temporary, "4.1.1", false},
		{450, "5.1.1 of another class", Temporary, "", false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d %s", test.code, test.text), func(t *testing.T) {
			srv := testkit.NewSMTP(t)
			srv.On(testkit.SMTPAtRcpt, testkit.SMTPReply(test.code, test.text))
			_, err := newSender(t, srv, patience).Send(t.Context(), testMessage(), nil)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			if e.Kind != test.kind || e.Enhanced != test.enhanced || e.BadAddress != test.bad || e.Reply != test.text {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestServerLimits(t *testing.T) {
	t.Run("SIZE", func(t *testing.T) {
		srv := testkit.NewSMTP(t, testkit.SMTPExtension("SIZE 500"))
		m := testMessage()
		m.Text = strings.Repeat("x", 1000)
		_, err := newSender(t, srv, patience).Send(t.Context(), m, nil)
		var e *Error
		if !errors.As(err, &e) || e.Kind != Permanent || e.Op != opMail || srv.Seen(testkit.SMTPAtMail) != 0 {
			t.Errorf("got %v", err)
		}
	})
	m := testMessage()
	m.Rcpt = "jürgen@bücher.example"
	t.Run("no SMTPUTF8", func(t *testing.T) {
		srv := testkit.NewSMTP(t)
		_, err := newSender(t, srv, patience).Send(t.Context(), m, nil)
		var e *Error
		if !errors.As(err, &e) || e.Kind != Permanent || e.BadAddress || !strings.Contains(err.Error(), "SMTPUTF8") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("SMTPUTF8", func(t *testing.T) {
		srv := testkit.NewSMTP(t, testkit.SMTPExtension("SMTPUTF8"))
		if _, err := newSender(t, srv, patience).Send(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
		got := srv.Mails()[0]
		if got.To[0] != "jürgen@xn--bcher-kva.example" || !strings.Contains(got.MailParams, "SMTPUTF8") {
			t.Errorf("got %q with %q", got.To, got.MailParams)
		}
	})
	t.Run("domain only", func(t *testing.T) {
		srv := testkit.NewSMTP(t)
		m := testMessage()
		m.Rcpt = "Jürgen <juergen@bücher.example>"
		if _, err := newSender(t, srv, patience).Send(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
		if got := srv.Mails()[0]; got.To[0] != "juergen@xn--bcher-kva.example" {
			t.Errorf("got %q", got.To)
		}
	})
}

func TestRepliesArePrintable(t *testing.T) {
	srv := testkit.NewSMTP(t)
	srv.On(testkit.SMTPAtRcpt, testkit.SMTPReply(550, "\x1b[31mred\u202e\xff", strings.Repeat("ü", 600)))
	_, err := newSender(t, srv, patience).Send(t.Context(), testMessage(), nil)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if !strings.HasPrefix(e.Reply, "?[31mred?? ü") || len(e.Reply) > maxReply || len(e.Reply) < maxReply-2 {
		t.Errorf("got %d bytes: %q", len(e.Reply), e.Reply)
	}
}
