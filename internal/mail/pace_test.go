package mail

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

var tooMany = &Error{Kind: Temporary, Op: opRcpt, Code: 450, Enhanced: "4.2.1", Reply: "4.2.1 Too many messages"}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p paces
		enter := func() time.Duration {
			wait, ok := p.enter("example.org")
			if ok != (wait == 0) {
				t.Fatalf("may go: %t, and is to wait %v", ok, wait)
			}
			return wait
		}
		for range 10 {
			if enter() != 0 {
				t.Fatal("a domain that never complained is slowed")
			}
		}
		p.leave("example.org", time.Now(), tooMany)
		if wait, ok := p.enter("example.net"); !ok {
			t.Errorf("another domain waits %v", wait)
		}
		// Those that come meanwhile get times of their own.
		for n := range 3 {
			if got, want := enter(), paceFirst*time.Duration(n+1); got != want {
				t.Errorf("mail %d is put off for %v, want %v", n, got, want)
			}
		}
		time.Sleep(paceFirst)
		if wait := enter(); wait != 0 {
			t.Errorf("still %v to wait after the gap", wait)
		}
		if enter() == 0 {
			t.Error("two went at once")
		}
		before := time.Now().Add(-time.Millisecond)
		p.leave("example.org", time.Now(), tooMany)
		for range 10 { // mails that were under way at the same time
			p.leave("example.org", before, tooMany)
			p.leave("example.org", before, nil)
		}
		if got := p.domains["example.org"].gap; got != 2*paceFirst {
			t.Errorf("mails under way made the gap %v, want %v", got, 2*paceFirst)
		}
		for range 10 {
			time.Sleep(paceLast)
			p.leave("example.org", time.Now(), tooMany)
		}
		if got := p.domains["example.org"].gap; got != paceLast {
			t.Errorf("the gap grew to %v, want %v at most", got, paceLast)
		}
		// It recovers while mails are taken.
		taken := 0
		for p.slowed() > 0 {
			time.Sleep(paceLast)
			if enter() != 0 {
				t.Fatal("a mail must wait longer than the gap")
			}
			p.leave("example.org", time.Now(), nil)
			if taken++; taken > 100 {
				t.Fatal("it does not recover")
			}
		}
	})
}

func TestPaceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p paces
		for n := range maxPaced + 5 {
			p.leave(fmt.Sprint(n), time.Now(), tooMany)
		}
		if got := p.slowed(); got != maxPaced {
			t.Errorf("keeps %d domains, want %d", got, maxPaced)
		}
		time.Sleep(paceIdle + paceLast)
		p.leave("new", time.Now(), tooMany)
		if got := p.slowed(); got != 1 {
			t.Errorf("keeps %d domains after all but one are long past", got)
		}
		p.leave("new", time.Now(), tooMany)
		longest := time.Duration(0)
		for range 100_000 {
			wait, _ := p.enter("new")
			longest = max(longest, wait)
		}
		if longest > paceHorizon+paceLast {
			t.Errorf("a mail is put off for %v", longest)
		}
	})
}

func TestSpeaksOfRate(t *testing.T) {
	for _, test := range []struct {
		op    string
		reply string
		want  bool
	}{
		{opRcpt, "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages", true},
		{opRcpt, "421 4.7.28 Our system has detected an unusual rate of mail", true},
		{opDot, "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume", true},
		{opRcpt, "451 4.7.650 The mail server has been temporarily rate limited", true},
		{opDot, "454 Throttling failure: Maximum sending rate exceeded.", true},
		{opDot, "452 4.5.3 Too many recipients", true},
		{opRcpt, "450 4.2.0 Greylisted", false},
		{opRcpt, "452 4.2.2 mailbox full", false},
		{opRcpt, "550 5.7.1 rate limit", false},
		{opMail, "421 4.4.2 timeout", false},
		{opConnect, "421 too many connections", false},
	} {
		e := &Error{Op: test.op, Reply: test.reply[4:]}
		if _, err := fmt.Sscan(test.reply[:3], &e.Code); err != nil {
			t.Fatal(err)
		}
		e.Enhanced = enhancedCode(e.Code, e.Reply)
		if got := speaksOfRate(e); got != test.want {
			t.Errorf("%s at %s: got %t", test.reply, test.op, got)
		}
	}
}

// TestSlowedDomain: what a server complains about is put off, at no attempt's
// cost, and the other domains are not.
func TestSlowedDomain(t *testing.T) {
	srv := testkit.NewSMTP(t)
	sender := newSender(t, srv, patience)
	srv.Once(testkit.SMTPAtRcpt, testkit.SMTPReply(450, "4.7.1 rate limit reached, try later"))
	if _, err := sender.Send(t.Context(), testMessage(), nil); asError(err).Kind != Temporary {
		t.Fatalf("got %v", err)
	}
	_, err := sender.Send(t.Context(), testMessage(), nil)
	if e := asError(err); e == nil || e.Kind != Deferred || e.After < time.Second || e.After > 2*paceFirst {
		t.Errorf("got %v", err)
	}
	other := testMessage()
	other.Rcpt = "user@example.net"
	if _, err := sender.Send(t.Context(), other, nil); err != nil {
		t.Error(err)
	}
	expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtRcpt: 2})
}

// TestSlowedDomainGoesElsewhere: another provider is another sender.
func TestSlowedDomainGoesElsewhere(t *testing.T) {
	first, second := testkit.NewSMTP(t), testkit.NewSMTP(t)
	sender := newPair(t, first, second)
	first.Once(testkit.SMTPAtRcpt, testkit.SMTPReply(450, "4.7.1 rate limit reached, try later"))
	_, _ = sender.Send(t.Context(), testMessage(), nil)
	receipt, err := sender.Send(t.Context(), testMessage(), nil)
	if err != nil || receipt.Provider != "second" {
		t.Errorf("got %+v, %v", receipt, err)
	}
}
