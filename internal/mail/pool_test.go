package mail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// numbered is a message of its own, and its Message-ID.
func numbered(n int) (Message, string) {
	m := testMessage()
	m.ID = fmt.Sprintf("mail-%d", n)
	return m, fmt.Sprintf("<mail-%d@example.com>", n)
}

// mustSend sends a numbered message and sees that the server has it once.
func mustSend(t *testing.T, s *Sender, srv *testkit.SMTP, n int) {
	t.Helper()
	m, id := numbered(n)
	if _, err := s.Send(testContext(t), m, nil); err != nil {
		t.Fatalf("message %d: %v", n, err)
	}
	if got := srv.Count(id); got != 1 {
		t.Errorf("the server has message %d %d times", n, got)
	}
}

func expectSeen(t *testing.T, srv *testkit.SMTP, want map[testkit.SMTPVerb]int) {
	t.Helper()
	for verb, n := range want {
		if got := srv.Seen(verb); got != n {
			t.Errorf("the server has seen %s %d times, want %d", verb, got, n)
		}
	}
}

func TestConnectionIsKept(t *testing.T) {
	for _, extension := range []string{"", "PIPELINING"} {
		t.Run(extension, func(t *testing.T) {
			srv := testkit.NewSMTP(t, testkit.SMTPOfferTLS(), testkit.SMTPLogin("ann", "s3cret"), testkit.SMTPExtension(extension))
			sender := newSender(t, srv, patience)
			for n := range 5 {
				mustSend(t, sender, srv, n)
			}
			resets := 0
			if extension != "" {
				resets = 4
			}
			expectSeen(t, srv, map[testkit.SMTPVerb]int{
				testkit.SMTPAtConnect: 1, testkit.SMTPAtAuth: 1, testkit.SMTPAtRset: resets, testkit.SMTPAtQuit: 0,
			})
			sender.Close()
			expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtQuit: 1})
		})
	}
}

// staleWays are how a server leaves a connection between two messages.
var staleWays = map[string]testkit.SMTPAction{
	"cut":          testkit.SMTPClose(),
	"421":          testkit.SMTPReplyAndClose(421, "4.4.2 idle for too long"),
	"half a reply": testkit.SMTPHalfReply(250),
	"garbage":      testkit.SMTPGarbage(),
}

func TestStaleConnectionIsReplaced(t *testing.T) {
	for _, verb := range []testkit.SMTPVerb{testkit.SMTPAtRset, testkit.SMTPAtMail, testkit.SMTPAtRcpt, testkit.SMTPAtData} {
		for way, action := range staleWays {
			t.Run(string(verb)+"/"+way, func(t *testing.T) {
				t.Parallel()
				srv := testkit.NewSMTP(t, testkit.SMTPExtension("PIPELINING"))
				sender := newSender(t, srv, patience)
				mustSend(t, sender, srv, 1)
				srv.Once(verb, action)
				calls := 0
				m, id := numbered(2)
				_, err := sender.Send(t.Context(), m, func(context.Context) error { calls++; return nil })
				if err != nil || calls != 1 || srv.Count(id) != 1 {
					t.Errorf("got %v, the point of no return %d times, the message %d times", err, calls, srv.Count(id))
				}
				expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 2})
			})
		}
	}
	t.Run("RSET/refused", func(t *testing.T) {
		srv := testkit.NewSMTP(t, testkit.SMTPExtension("PIPELINING"))
		sender := newSender(t, srv, patience)
		mustSend(t, sender, srv, 1)
		srv.Once(testkit.SMTPAtRset, testkit.SMTPReply(503, "5.5.1 not now"))
		mustSend(t, sender, srv, 2)
		expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 2})
	})
}

func TestReplacedOnce(t *testing.T) {
	srv := testkit.NewSMTP(t)
	sender := newSender(t, srv, patience)
	mustSend(t, sender, srv, 1)
	srv.On(testkit.SMTPAtMail, testkit.SMTPClose())
	m, _ := numbered(2)
	_, err := sender.Send(t.Context(), m, nil)
	expectTemporary(t, err, opMail, "EOF")
	expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 2})
}

// TestNotReplaced lists the failures of a used connection that are the
// message's, or that came when the server may have it.
func TestNotReplaced(t *testing.T) {
	for _, test := range []struct {
		name   string
		verb   testkit.SMTPVerb
		action testkit.SMTPAction
		want   Kind
	}{
		{"refused for now", testkit.SMTPAtMail, testkit.SMTPReply(451, "4.3.0 later"), Temporary},
		{"refused for good", testkit.SMTPAtRcpt, testkit.SMTPReply(550, "5.1.1 nobody"), Permanent},
		{"cut at the dot", testkit.SMTPAtDot, testkit.SMTPClose(), Ambiguous},
		{"421 at the dot", testkit.SMTPAtDot, testkit.SMTPReplyAndClose(421, "4.3.2 going down"), Temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := testkit.NewSMTP(t)
			sender := newSender(t, srv, patience)
			mustSend(t, sender, srv, 1)
			srv.Once(test.verb, test.action)
			m, _ := numbered(2)
			_, err := sender.Send(t.Context(), m, nil)
			var e *Error
			if !errors.As(err, &e) || e.Kind != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
			expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 1})
			// The connection that failed is not used again. (To another domain:
			// a 421 slows down the recipient's.)
			m, _ = numbered(3)
			m.Rcpt = "user@example.net"
			if _, err := sender.Send(testContext(t), m, nil); err != nil {
				t.Errorf("the next message: %v", err)
			}
			expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 2})
		})
	}
}

// TestCutAtThePointOfNoReturn: what was noted as possibly sent is not offered
// anywhere else.
func TestCutAtThePointOfNoReturn(t *testing.T) {
	srv := testkit.NewSMTP(t)
	proxy := testkit.TCPProxy(t, srv.Addr())
	sender := newSenderURL(t, srv, strings.Replace(srv.URL(), srv.Addr(), proxy.Addr, 1), patience)
	mustSend(t, sender, srv, 1)
	calls := 0
	m, id := numbered(2)
	_, err := sender.Send(t.Context(), m, func(context.Context) error {
		calls++
		proxy.Cut()
		return nil
	})
	var e *Error
	if !errors.As(err, &e) || e.Kind != Ambiguous || calls != 1 || srv.Count(id) != 0 {
		t.Errorf("got %v after %d calls", err, calls)
	}
	expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 1})
}

// TestTalkativeServer: a server that says more than it was asked is left, for
// its next reply would be taken for another.
func TestTalkativeServer(t *testing.T) {
	srv := testkit.NewSMTP(t)
	sender := newSender(t, srv, patience)
	srv.Once(testkit.SMTPAtDot, testkit.SMTPReply(250, "taken\r\n250 and taken again"))
	mustSend(t, sender, srv, 1)
	mustSend(t, sender, srv, 2)
	expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 2})
}

func TestConnectionsAreBounded(t *testing.T) {
	srv := testkit.NewSMTP(t)
	sender := newSender(t, srv, patience) // of 4 connections
	srv.On(testkit.SMTPAtDot, testkit.SMTPHang())
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	defer senders.Wait()
	defer cancel()
	for n := range 4 {
		senders.Go(func() {
			m, _ := numbered(n)
			_, _ = sender.Send(ctx, m, nil)
		})
	}
	if err := srv.WaitVerb(testContext(t), testkit.SMTPAtDot, 4); err != nil {
		t.Fatal(err)
	}
	impatient, giveUp := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer giveUp()
	_, err := sender.Send(impatient, testMessage(), nil)
	var e *Error
	if !errors.As(err, &e) || e.Kind != Cancelled || e.Op != opWait || !strings.Contains(err.Error(), "none of 4 connections") {
		t.Errorf("got %v", err)
	}
	expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 4})
	srv.On(testkit.SMTPAtDot, testkit.SMTPReply(250, "2.0.0 ok"))
	cancel()
	senders.Wait()
	mustSend(t, sender, srv, 5) // those that failed have left their places
}

func TestConnectionsWear(t *testing.T) {
	for name, wear := range map[string]wear{
		"idle":     {idle: 20 * time.Millisecond, age: time.Hour, messages: 1000},
		"age":      {idle: time.Hour, age: time.Nanosecond, messages: 1000},
		"messages": {idle: time.Hour, age: time.Hour, messages: 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewSMTP(t)
			sender := newSender(t, srv, patience)
			sender.providers[0].pool.wear = wear
			for n := range 3 {
				mustSend(t, sender, srv, n)
				if err := srv.WaitVerb(testContext(t), testkit.SMTPAtQuit, n+1); err != nil {
					t.Fatal(err)
				}
			}
			expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 3})
		})
	}
}

// TestUnneededConnectionsGoIdle: the newest is lent first, so that a burst's
// connections end though the load goes on.
func TestUnneededConnectionsGoIdle(t *testing.T) {
	srv := testkit.NewSMTP(t)
	sender := newSender(t, srv, patience)
	pool := sender.providers[0].pool
	for range 2 { // twice, so that the second time they are used ones
		lent := make([]*session, 3)
		for i := range lent {
			var err error
			if lent[i], err = pool.borrow(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range lent {
			pool.giveBack(s)
		}
	}
	newest := pool.idle[2]
	for n := range 3 {
		mustSend(t, sender, srv, n)
	}
	expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 3})
	if newest.messages != 3 {
		t.Errorf("the newest connection took %d of 3 messages", newest.messages)
	}
}

func TestCloseEndsConnections(t *testing.T) {
	t.Run("the server does not answer QUIT", func(t *testing.T) {
		srv := testkit.NewSMTP(t)
		srv.On(testkit.SMTPAtQuit, testkit.SMTPHang())
		sender := newSender(t, srv, 10*patience)
		mustSend(t, sender, srv, 1)
		begin := time.Now()
		sender.Close()
		if took := time.Since(begin); took > patience {
			t.Errorf("took %v", took)
		}
	})
	t.Run("one is in use", func(t *testing.T) {
		srv := testkit.NewSMTP(t)
		sender := newSender(t, srv, patience)
		m, id := numbered(1)
		_, err := sender.Send(t.Context(), m, func(context.Context) error {
			sender.Close()
			return nil
		})
		if err != nil || srv.Count(id) != 1 {
			t.Errorf("got %v, the message %d times", err, srv.Count(id))
		}
		_, err = sender.Send(t.Context(), m, nil)
		expectTemporary(t, err, opConnect, "closed")
		expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 1})
	})
}

// TestPipelining gives no reply before the whole group has come.
func TestPipelining(t *testing.T) {
	srv := testkit.NewSMTP(t, testkit.SMTPExtension("PIPELINING"), testkit.SMTPInGroups())
	sender := newSender(t, srv, patience)
	for n := range 3 {
		mustSend(t, sender, srv, n)
	}
	expectSeen(t, srv, map[testkit.SMTPVerb]int{testkit.SMTPAtConnect: 1, testkit.SMTPAtRset: 2})
}

// TestManySendersAndABadServer has connections fail at random verbs while all
// of them are shared.
func TestManySendersAndABadServer(t *testing.T) {
	srv := testkit.NewSMTP(t, testkit.SMTPExtension("PIPELINING"))
	for verb, action := range map[testkit.SMTPVerb]testkit.SMTPAction{
		testkit.SMTPAtRset: testkit.SMTPClose(),
		testkit.SMTPAtMail: testkit.SMTPReplyAndClose(421, "4.4.2 bye"),
		testkit.SMTPAtRcpt: testkit.SMTPGarbage(),
		testkit.SMTPAtDot:  testkit.SMTPClose().Accepting(),
	} {
		for range 5 {
			srv.Once(verb, action)
		}
	}
	sender := newSender(t, srv, patience)
	var senders sync.WaitGroup
	for n := range 16 {
		senders.Go(func() {
			for i := range 10 {
				m, id := numbered(n*10 + i)
				_, err := sender.Send(testContext(t), m, nil)
				var e *Error
				switch got := srv.Count(id); {
				case err == nil && got == 1:
				case errors.As(err, &e) && (e.Kind == Ambiguous || got == 0):
				default:
					t.Errorf("the server has the message %d times, and the sender says %v", got, err)
				}
			}
		})
	}
	senders.Wait()
	sender.Close()
	if got := len(sender.providers[0].pool.slots); got != 0 {
		t.Errorf("%d connections are still lent", got)
	}
}
