package mail

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

// TestRealServer has a mail server of Debian's take mails over TLS with a
// login, from several senders, over connections that it ends after seven mails
// each, and refuse some.
func TestRealServer(t *testing.T) {
	const perConnection, senders, each = 7, 4, 12
	srv := testkit.NewExim(t, perConnection)
	sender, err := New(Options{
		Config:  Config{URL: srv.URL(), From: "Shop <shop@example.com>", Timeout: 4 * patience},
		Senders: senders, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	sender.providers[0].tls.RootCAs = srv.Roots()

	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for n := range each {
				m, _ := numbered(s*each + n)
				m.HTML = "<p>Grüße</p>"
				receipt, err := sender.Send(t.Context(), m, nil)
				if err != nil || receipt.Code != 250 || !strings.Contains(receipt.Reply, "id=") {
					t.Errorf("message %d: %+v, %v", s*each+n, receipt, err)
				}
			}
		})
	}
	all.Wait()
	for n := range senders * each {
		_, id := numbered(n)
		if _, _, got := srv.Mail(id); got != 1 {
			t.Errorf("the server has message %d %d times", n, got)
		}
	}
	if got, least := samples(t, sender)["postrider_mail_connections_opened_total 127.0.0.1"], senders*each/perConnection; int(got) < least || int(got) > senders*each/2 {
		t.Errorf("%v connections for %d mails of which one may take %d\n%s", got, senders*each, perConnection, srv.Log())
	}

	m, id := numbered(1000)
	m.Text = ".\n..two\n.three dots...\n\n."
	if _, err := sender.Send(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	head, body, _ := srv.Mail(id)
	if want := m.Text + "\n"; body != want {
		t.Errorf("the body came as %q, want %q", body, want)
	}
	for _, want := range []string{"P=esmtpsa", "A=plain"} { // TLS and a login
		if !strings.Contains(srv.Log(), want) {
			t.Errorf("the log lacks %s:\n%s", want, srv.Log())
		}
	}
	if !strings.Contains(head, "<shop@example.com>") || !strings.Contains(head, "Subject: Welcome!") {
		t.Errorf("the head is\n%s", head)
	}

	for _, refused := range []struct {
		local, says string
		want        Error
	}{
		{"nobody", "no such user", Error{Kind: Permanent, Op: opRcpt, Code: 550, Enhanced: "5.1.1", BadAddress: true}},
		{"later", "too many mails", Error{Kind: Temporary, Op: opRcpt, Code: 451, Enhanced: "4.7.1"}},
	} {
		m, _ := numbered(2000)
		m.Rcpt = refused.local + "@" + refused.local + ".example"
		_, err := sender.Send(t.Context(), m, nil)
		e := asError(err)
		if e == nil {
			t.Errorf("%s was taken", refused.local)
			continue
		}
		got := fmt.Sprint(e.Kind, e.Op, e.Code, e.Enhanced, e.BadAddress)
		if want := fmt.Sprint(refused.want.Kind, refused.want.Op, refused.want.Code, refused.want.Enhanced, refused.want.BadAddress); got != want || !strings.Contains(e.Reply, refused.says) {
			t.Errorf("%s: got %s (%v), want %s", refused.local, got, err, want)
		}
	}
}
