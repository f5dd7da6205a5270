package mail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// honest tells what must hold whatever the server did: a failure that is not
// ambiguous means that the server has nothing, a success that it has one.
func honest(t *testing.T, srv *testkit.SMTP, err error) {
	t.Helper()
	accepted, dots := srv.Count(testMessageID), srv.Dots(testMessageID)
	var e *Error
	switch {
	case err == nil:
		if accepted != 1 {
			t.Errorf("delivered, but the server accepted %d", accepted)
		}
	case !errors.As(err, &e):
		t.Errorf("not an *Error: %v", err)
	case e.Kind != Ambiguous && accepted != 0:
		t.Errorf("%s, but the server accepted %d", e.Kind, accepted)
	case e.Op != opDot && dots != 0:
		t.Errorf("failed at %s, but the server has a dot", e.Op)
	case e.Kind == Ambiguous && e.Op != opDot:
		t.Errorf("ambiguous at %s", e.Op)
	}
}

// step is a verb and the operation that a failure there belongs to.
type step struct {
	verb testkit.SMTPVerb
	op   string
	opts []testkit.SMTPOption
}

func steps() []step {
	return []step{
		{testkit.SMTPAtConnect, opConnect, nil},
		{testkit.SMTPAtEHLO, opConnect, nil},
		{testkit.SMTPAtStartTLS, opTLS, []testkit.SMTPOption{testkit.SMTPOfferTLS()}},
		{testkit.SMTPAtAuth, opAuth, []testkit.SMTPOption{testkit.SMTPLogin("ann", "s3cret")}},
		{testkit.SMTPAtMail, opMail, nil},
		{testkit.SMTPAtRcpt, opRcpt, nil},
		{testkit.SMTPAtData, opData, nil},
		{testkit.SMTPAtDot, opDot, nil},
	}
}

func TestSendDelivers(t *testing.T) {
	srv := testkit.NewSMTP(t)
	calls := 0
	receipt, err := newSender(t, srv, patience).Send(t.Context(), testMessage(), func(context.Context) error {
		calls++
		if srv.Seen(testkit.SMTPAtData) != 1 || srv.Seen(testkit.SMTPAtDot) != 0 {
			t.Error("beforeDot was not called between DATA and the dot")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	honest(t, srv, err)
	want := Receipt{Code: 250, Reply: "2.0.0 accepted", MessageID: testMessageID, Provider: "127.0.0.1", Host: srv.Addr()}
	if receipt != want {
		t.Errorf("receipt %+v, want %+v", receipt, want)
	}
	if calls != 1 {
		t.Errorf("beforeDot was called %d times", calls)
	}
	got := srv.Mails()[0]
	if got.From != "shop@example.com" || len(got.To) != 1 || got.To[0] != "user@example.org" {
		t.Errorf("envelope %q → %q", got.From, got.To)
	}
	// Dot-stuffing undone by the server gives back the lines of dots.
	if !strings.HasSuffix(string(got.Data), "Thanks for signing up.\r\n.\r\n..two\r\n") {
		t.Errorf("content:\n%s", got.Data)
	}
	if strings.Contains(got.MailParams, "SMTPUTF8") {
		t.Errorf("SMTPUTF8 asked for without need: %q", got.MailParams)
	}
}

// TestEveryVerbFails holds the table of outcomes.
func TestEveryVerbFails(t *testing.T) {
	faults := []struct {
		name   string
		action testkit.SMTPAction
		before Kind // from MAIL on, before the dot
		dot    Kind
		code   int
	}{
		{"4xx", testkit.SMTPReply(451, "4.3.0 later"), Temporary, Temporary, 451},
		{"4xx in lines", testkit.SMTPReply(451, "4.3.0 later", "4.3.0 much later"), Temporary, Temporary, 451},
		{"5xx", testkit.SMTPReply(554, "5.0.0 never"), Permanent, Permanent, 554},
		{"5xx and close", testkit.SMTPReplyAndClose(554, "5.0.0 never"), Permanent, Permanent, 554},
		{"421 and close", testkit.SMTPReplyAndClose(421, "4.3.2 shutting down"), Temporary, Temporary, 421},
		{"535", testkit.SMTPReply(535, "5.7.8 who are you"), Temporary, Temporary, 535},
		{"530", testkit.SMTPReply(530, "5.7.0 log in first"), Temporary, Temporary, 530},
		{"out of place", testkit.SMTPReply(150, "hm"), Temporary, Ambiguous, 150},
		{"hang", testkit.SMTPHang(), Temporary, Ambiguous, 0},
		{"close", testkit.SMTPClose(), Temporary, Ambiguous, 0},
		{"half a refusal", testkit.SMTPHalfReply(554), Temporary, Ambiguous, 0},
		{"half an acceptance", testkit.SMTPHalfReply(250), Temporary, Ambiguous, 0},
		{"garbage", testkit.SMTPGarbage(), Temporary, Ambiguous, 0},
		{"endless", testkit.SMTPFlood(maxReplies + 1<<10), Temporary, Ambiguous, 0},
	}
	for _, step := range steps() {
		for _, fault := range faults {
			t.Run(fmt.Sprintf("%s/%s", step.verb, fault.name), func(t *testing.T) {
				t.Parallel()
				srv := testkit.NewSMTP(t, step.opts...)
				srv.On(step.verb, fault.action)
				timeout := patience
				if fault.name == "hang" {
					timeout = time.Second
				}
				_, err := newSender(t, srv, timeout).Send(t.Context(), testMessage(), nil)
				honest(t, srv, err)
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("got %v", err)
				}
				want := fault.before
				switch step.op {
				case opDot:
					want = fault.dot
				case opConnect, opTLS, opAuth: // the session is refused, never the message
					want = Temporary
				}
				if e.Kind != want || e.Op != step.op || e.Code != fault.code || e.BadAddress {
					t.Errorf("got %s at %s, code %d, bad address %t; want %s at %s, code %d: %v",
						e.Kind, e.Op, e.Code, e.BadAddress, want, step.op, fault.code, err)
				}
				if e.Host != srv.Addr() || !strings.Contains(err.Error(), srv.Addr()) || !strings.Contains(err.Error(), e.Op) {
					t.Errorf("operation or host is not named: %v", err)
				}
				if strings.Contains(err.Error(), "s3cret") || len(err.Error()) > 2*maxReply {
					t.Errorf("error with a password or without bound: %v", err)
				}
			})
		}
	}
}

func TestDotOutcomes(t *testing.T) {
	tests := []struct {
		name   string
		verb   testkit.SMTPVerb
		action testkit.SMTPAction
		want   Kind // "" for delivered
	}{
		{"250 and cut", testkit.SMTPAtDot, testkit.SMTPReplyAndClose(250, "2.0.0 ok"), ""},
		{"another 2xx", testkit.SMTPAtDot, testkit.SMTPReply(252, "2.0.0 ok"), ""},
		{"250 in lines", testkit.SMTPAtDot, testkit.SMTPReply(250, "2.0.0 ok", "queued as 7"), ""},
		{"QUIT hangs", testkit.SMTPAtQuit, testkit.SMTPHang(), ""},
		{"QUIT is refused", testkit.SMTPAtQuit, testkit.SMTPReply(554, "5.0.0 stay"), ""},
		{"QUIT is cut", testkit.SMTPAtQuit, testkit.SMTPClose(), ""},
		{"accepted, then cut", testkit.SMTPAtDot, testkit.SMTPClose().Accepting(), Ambiguous},
		{"accepted, then garbage", testkit.SMTPAtDot, testkit.SMTPGarbage().Accepting(), Ambiguous},
		{"accepted, half a reply", testkit.SMTPAtDot, testkit.SMTPHalfReply(250).Accepting(), Ambiguous},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := testkit.NewSMTP(t)
			srv.On(test.verb, test.action)
			begin := time.Now()
			_, err := newSender(t, srv, 10*patience).Send(t.Context(), testMessage(), nil)
			honest(t, srv, err)
			if srv.Count(testMessageID) != 1 {
				t.Error("the server does not have the message")
			}
			var e *Error
			errors.As(err, &e)
			if test.want == "" && err != nil || test.want != "" && (e == nil || e.Kind != test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if took := time.Since(begin); took > patience {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestCancelAtEveryVerb(t *testing.T) {
	cause := errors.New("the worker stops")
	for _, step := range steps() {
		t.Run(string(step.verb), func(t *testing.T) {
			t.Parallel()
			srv := testkit.NewSMTP(t, step.opts...)
			srv.On(step.verb, testkit.SMTPHang().Accepting())
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			sender := newSender(t, srv, 10*patience)
			result := make(chan error, 1)
			go func() {
				_, err := sender.Send(ctx, testMessage(), nil)
				result <- err
			}()
			if err := srv.WaitVerb(testContext(t), step.verb, 1); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			cancel(cause)
			err := <-result
			if took := time.Since(begin); took > time.Second {
				t.Errorf("returned %v after the cancel", took)
			}
			want := Cancelled
			if step.op == opDot {
				want = Ambiguous
			}
			var e *Error
			if !errors.As(err, &e) || e.Kind != want || e.Op != step.op || !errors.Is(err, cause) {
				t.Errorf("got %v, want %s at %s for the cause", err, want, step.op)
			}
			honest(t, srv, err)
		})
	}
}

func TestCancelBeforeConnecting(t *testing.T) {
	srv := testkit.NewSMTP(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newSender(t, srv, patience).Send(ctx, testMessage(), nil)
	var e *Error
	if !errors.As(err, &e) || e.Kind != Cancelled || e.Op != opConnect || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCancelWithinBeforeDot(t *testing.T) {
	srv := testkit.NewSMTP(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := newSender(t, srv, patience).Send(ctx, testMessage(), func(context.Context) error {
		cancel()
		return nil
	})
	var e *Error
	if !errors.As(err, &e) || e.Kind != Cancelled || e.Op != opData {
		t.Errorf("got %v", err)
	}
	srv.Close()
	honest(t, srv, err)
}

// TestBeforeDotComesLast: nothing of the content is held back, for what fails
// together with the dot is ambiguous.
func TestBeforeDotComesLast(t *testing.T) {
	srv := testkit.NewSMTP(t)
	m := testMessage()
	m.From = "shop@example.com"
	raw, err := Build(m)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newSender(t, srv, patience).Send(testContext(t), m, func(ctx context.Context) error {
		return srv.WaitContent(ctx, len(raw))
	})
	if err != nil {
		t.Error(err)
	}
}

func TestBeforeDotRefuses(t *testing.T) {
	srv := testkit.NewSMTP(t)
	fenced := errors.New("another run has taken over")
	m := testMessage()
	m.Text = strings.Repeat("many lines of text\n", 10_000)
	_, err := newSender(t, srv, patience).Send(t.Context(), m, func(context.Context) error { return fenced })
	var e *Error
	if !errors.As(err, &e) || e.Kind != Cancelled || e.Op != opAbort || !errors.Is(err, fenced) {
		t.Errorf("got %v", err)
	}
	srv.Close() // waits for the session, which has read all there was
	if srv.Seen(testkit.SMTPAtData) != 1 || srv.Seen(testkit.SMTPAtDot) != 0 || len(srv.Mails()) != 0 {
		t.Error("the server saw a dot")
	}
}

func TestBeforeDotOutlastsTimeout(t *testing.T) {
	srv := testkit.NewSMTP(t)
	_, err := newSender(t, srv, 200*time.Millisecond).Send(t.Context(), testMessage(), func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	var e *Error
	if !errors.As(err, &e) || e.Kind != Temporary {
		t.Errorf("got %v, want temporary: nobody cancelled", err)
	}
	srv.Close()
	honest(t, srv, err)
}

func TestNobodyListens(t *testing.T) {
	srv := testkit.NewSMTP(t)
	sender := newSender(t, srv, patience)
	srv.Close()
	_, err := sender.Send(t.Context(), testMessage(), nil)
	var e *Error
	if !errors.As(err, &e) || e.Kind != Temporary || e.Op != opConnect {
		t.Errorf("got %v", err)
	}
}
