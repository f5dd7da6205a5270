package mail

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

// newPair is a sender over two servers, the first of which is tried first.
func newPair(t *testing.T, first, second *testkit.SMTP) *Sender {
	t.Helper()
	return newSenderURL(t, first, with(first, "name=first&priority=1")+" "+with(second, "name=second&priority=2"), patience)
}

// with is a server's URL with more parameters.
func with(srv *testkit.SMTP, parameters string) string {
	if strings.Contains(srv.URL(), "?") {
		return srv.URL() + "&" + parameters
	}
	return srv.URL() + "?" + parameters
}

// TestFailover lists the failures that are the provider's: another one is
// tried within the same Send.
func TestFailover(t *testing.T) {
	type way struct {
		verb   testkit.SMTPVerb
		action testkit.SMTPAction
		opts   []testkit.SMTPOption
	}
	ways := map[string]way{
		"greeting 554":       {testkit.SMTPAtConnect, testkit.SMTPReplyAndClose(554, "5.3.2 not today"), nil},
		"greeting 421":       {testkit.SMTPAtConnect, testkit.SMTPReplyAndClose(421, "4.3.2 too busy"), nil},
		"EHLO refused":       {testkit.SMTPAtEHLO, testkit.SMTPReply(550, "5.7.1 you are listed"), nil},
		"STARTTLS refused":   {testkit.SMTPAtStartTLS, testkit.SMTPReply(454, "4.7.0 not now"), []testkit.SMTPOption{testkit.SMTPOfferTLS()}},
		"password refused":   {testkit.SMTPAtAuth, testkit.SMTPReply(535, "5.7.8 wrong"), []testkit.SMTPOption{testkit.SMTPLogin("ann", "s3cret")}},
		"login wanted":       {testkit.SMTPAtMail, testkit.SMTPReply(530, "5.7.0 log in first"), nil},
		"cut at MAIL":        {testkit.SMTPAtMail, testkit.SMTPClose(), nil},
		"421 at MAIL":        {testkit.SMTPAtMail, testkit.SMTPReplyAndClose(421, "4.7.0 bye"), nil},
		"421 at RCPT":        {testkit.SMTPAtRcpt, testkit.SMTPReplyAndClose(421, "4.7.0 bye"), nil},
		"421 at DATA":        {testkit.SMTPAtData, testkit.SMTPReplyAndClose(421, "4.7.0 bye"), nil},
		"half reply at DATA": {testkit.SMTPAtData, testkit.SMTPHalfReply(354), nil},
		"garbage at RCPT":    {testkit.SMTPAtRcpt, testkit.SMTPGarbage(), nil},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := testkit.NewSMTP(t, way.opts...), testkit.NewSMTP(t)
			first.On(way.verb, way.action)
			calls := 0
			receipt, err := newPair(t, first, second).Send(t.Context(), testMessage(), func(context.Context) error {
				calls++
				return nil
			})
			if err != nil || receipt.Provider != "second" || receipt.Host != second.Addr() || calls != 1 {
				t.Fatalf("got %+v, %v after %d calls", receipt, err, calls)
			}
			if first.Seen(way.verb) == 0 || first.Dots(testMessageID) != 0 || second.Count(testMessageID) != 1 {
				t.Errorf("the first server has %d dots, the second %d messages", first.Dots(testMessageID), second.Count(testMessageID))
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		first, second := testkit.NewSMTP(t), testkit.NewSMTP(t)
		sender := newPair(t, first, second)
		first.Close()
		if receipt, err := sender.Send(t.Context(), testMessage(), nil); err != nil || receipt.Provider != "second" {
			t.Errorf("got %+v, %v", receipt, err)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		first, second := testkit.NewSMTP(t), testkit.NewSMTP(t)
		first.On(testkit.SMTPAtConnect, testkit.SMTPHang())
		sender := newPair(t, first, second)
		sender.timeout = patience / 3
		if receipt, err := sender.Send(t.Context(), testMessage(), nil); err != nil || receipt.Provider != "second" {
			t.Errorf("got %+v, %v", receipt, err)
		}
	})
}

// TestNoFailover lists what is said of the message, or after the dot: no other
// provider may be tried.
func TestNoFailover(t *testing.T) {
	for _, test := range []struct {
		name   string
		verb   testkit.SMTPVerb
		action testkit.SMTPAction
		want   Kind
	}{
		{"451 at MAIL", testkit.SMTPAtMail, testkit.SMTPReply(451, "4.3.0 later"), Temporary},
		{"450 at RCPT", testkit.SMTPAtRcpt, testkit.SMTPReply(450, "4.2.0 greylisted"), Temporary},
		{"550 at RCPT", testkit.SMTPAtRcpt, testkit.SMTPReply(550, "5.1.1 nobody"), Permanent},
		{"554 at the dot", testkit.SMTPAtDot, testkit.SMTPReply(554, "5.7.1 spam"), Permanent},
		{"421 at the dot", testkit.SMTPAtDot, testkit.SMTPReplyAndClose(421, "4.3.2 bye"), Temporary},
		{"cut at the dot", testkit.SMTPAtDot, testkit.SMTPClose(), Ambiguous},
		{"cut at the dot, taken", testkit.SMTPAtDot, testkit.SMTPClose().Accepting(), Ambiguous},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, second := testkit.NewSMTP(t), testkit.NewSMTP(t)
			first.On(test.verb, test.action)
			_, err := newPair(t, first, second).Send(t.Context(), testMessage(), nil)
			e := asError(err)
			if e == nil || e.Kind != test.want || e.Provider != "first" || !strings.Contains(err.Error(), "first, "+first.Addr()) {
				t.Errorf("got %v, want %s of the first", err, test.want)
			}
			if second.Seen(testkit.SMTPAtConnect) != 0 {
				t.Error("the second provider was asked")
			}
		})
	}
	t.Run("the caller ends it", func(t *testing.T) {
		first, second := testkit.NewSMTP(t), testkit.NewSMTP(t)
		first.On(testkit.SMTPAtMail, testkit.SMTPHang())
		sender := newPair(t, first, second)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_ = first.WaitVerb(testContext(t), testkit.SMTPAtMail, 1)
			cancel()
		}()
		_, err := sender.Send(ctx, testMessage(), nil)
		if e := asError(err); e == nil || e.Kind != Cancelled || second.Seen(testkit.SMTPAtConnect) != 0 {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the point of no return refuses", func(t *testing.T) {
		first, second := testkit.NewSMTP(t), testkit.NewSMTP(t)
		_, err := newPair(t, first, second).Send(t.Context(), testMessage(), func(context.Context) error { return errors.New("no") })
		if e := asError(err); e == nil || e.Kind != Cancelled || second.Seen(testkit.SMTPAtConnect) != 0 {
			t.Errorf("got %v", err)
		}
	})
}

// TestAllProvidersFail: the last one's error is told.
func TestAllProvidersFail(t *testing.T) {
	first, second := testkit.NewSMTP(t), testkit.NewSMTP(t)
	sender := newPair(t, first, second)
	first.Close()
	second.On(testkit.SMTPAtMail, testkit.SMTPReplyAndClose(421, "4.3.2 bye"))
	_, err := sender.Send(t.Context(), testMessage(), nil)
	if e := asError(err); e == nil || e.Kind != Temporary || e.Provider != "second" || e.Code != 421 {
		t.Errorf("got %v", err)
	}
}

// TestNoProviderIsForIt: settings can be mended, so the mail is not destroyed.
func TestNoProviderIsForIt(t *testing.T) {
	srv := testkit.NewSMTP(t)
	sender := newSenderURL(t, srv, with(srv, "from=shop.example,other.example"), patience)
	_, err := sender.Send(t.Context(), testMessage(), nil)
	if e := asError(err); e == nil || e.Kind != Temporary || e.Op != opChoose || srv.Seen(testkit.SMTPAtConnect) != 0 {
		t.Errorf("got %v", err)
	}
	m := testMessage()
	m.From = "Shop <hello@Shop.Example>"
	if _, err := sender.Send(t.Context(), m, nil); err != nil {
		t.Error(err)
	}
}

// TestBreakerSparesAProvider: after some failures in a row a provider is not
// asked any more, and with all of them out a message is put off at once.
func TestBreakerSparesAProvider(t *testing.T) {
	first, second := testkit.NewSMTP(t), testkit.NewSMTP(t)
	sender := newPair(t, first, second)
	first.On(testkit.SMTPAtConnect, testkit.SMTPReplyAndClose(421, "4.3.2 too busy"))
	for n := range breakerLimit + 3 {
		mustSend(t, sender, second, n)
	}
	expectSeen(t, first, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: breakerLimit})

	second.Close()
	for range breakerLimit {
		if _, err := sender.Send(t.Context(), testMessage(), nil); asError(err).Kind != Temporary {
			t.Fatalf("got %v", err)
		}
	}
	_, err := sender.Send(t.Context(), testMessage(), nil)
	if e := asError(err); e == nil || e.Kind != Deferred || e.Op != opChoose || e.After <= 0 || e.After > 2*breakerMaxPause {
		t.Errorf("got %v", err)
	}
	got := samples(t, sender)
	for _, provider := range []string{"first", "second"} {
		if got["postrider_mail_breaker "+provider+" open"] != 1 || got["postrider_mail_breaker "+provider+" closed"] != 0 {
			t.Errorf("gathered %v", got)
		}
	}
}

// TestRefusalsDoNotOpenTheBreaker: a server that says no is up.
func TestRefusalsDoNotOpenTheBreaker(t *testing.T) {
	srv := testkit.NewSMTP(t)
	srv.On(testkit.SMTPAtRcpt, testkit.SMTPReply(550, "5.1.1 nobody"))
	sender := newSender(t, srv, patience)
	for range 3 * breakerLimit {
		if _, err := sender.Send(t.Context(), testMessage(), nil); asError(err).Kind != Permanent {
			t.Fatalf("got %v", err)
		}
	}
}

func TestSendMetrics(t *testing.T) {
	srv := testkit.NewSMTP(t)
	sender := newSender(t, srv, patience)
	mustSend(t, sender, srv, 1)
	for _, action := range []testkit.SMTPAction{testkit.SMTPReply(451, "later"), testkit.SMTPReply(554, "never"), testkit.SMTPClose()} {
		srv.Once(testkit.SMTPAtDot, action)
		_, _ = sender.Send(t.Context(), testMessage(), nil)
	}
	mustSend(t, sender, srv, 2)
	got := samples(t, sender)
	for name, want := range map[string]float64{
		"postrider_mail_sends_total sent 127.0.0.1 2xx":       2,
		"postrider_mail_sends_total temporary 127.0.0.1 4xx":  1,
		"postrider_mail_sends_total permanent 127.0.0.1 5xx":  1,
		"postrider_mail_sends_total ambiguous 127.0.0.1 none": 1,
		"postrider_mail_connections_opened_total 127.0.0.1":   4,
		"postrider_mail_connections 127.0.0.1 idle":           1,
		"postrider_mail_connections 127.0.0.1 lent":           0,
		"postrider_mail_breaker 127.0.0.1 closed":             1,
		"postrider_mail_slowed_domains 127.0.0.1":             0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// samples gathers what a sender's collector tells: "family label…" to value.
func samples(t *testing.T, s *Sender) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{s.providers[0].metrics, s.providers})
	return testkit.Samples(t, reg)
}
