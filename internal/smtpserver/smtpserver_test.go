package smtpserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// box takes mails: each is told, and its reply waits to be let go.
type box struct {
	came chan string
	let  chan error
}

func (b box) session() gosmtp.Session { return taking{b} }

type taking struct{ box }

func (taking) Mail(string, *gosmtp.MailOptions) error { return nil }
func (taking) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (taking) Reset()                                 {}
func (taking) Logout() error                          { return nil }

func (t taking) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	t.came <- string(text)
	return <-t.let
}

// start serves on a free port until the test ends.
func start(t *testing.T, change func(*Options)) (*Server, box, string) {
	t.Helper()
	b := box{make(chan string, 1), make(chan error, 1)}
	o := Options{
		Name: "mails", Domain: "localhost", Session: b.session, MaxBytes: 1 << 20, MaxRecipients: 2,
		Idle: time.Minute, Log: testkit.Logger(t),
	}
	if change != nil {
		change(&o)
	}
	s := New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, b, l.Addr().String()
}

func dial(t *testing.T, addr string) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send sends a mail and returns what came of it.
func send(c *smtp.Client, text string) error {
	if err := c.Mail("a@example.com"); err != nil {
		return err
	}
	if err := c.Rcpt("b@example.com"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return w.Close()
}

// A connection beyond the bound is told so; when there is room again, the next
// is served.
func TestConnectionsAreBounded(t *testing.T) {
	refused := make(chan struct{}, 1)
	s, _, addr := start(t, func(o *Options) { o.MaxConns, o.Refused = 2, func() { refused <- struct{}{} } })
	first := dial(t, addr)
	dial(t, addr)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != tooMany {
		t.Errorf("the third is told %q, %v", got, err)
	}
	<-refused
	if n := s.Conns(); n != 2 {
		t.Errorf("%d connections are known", n)
	}
	_ = first.Close()
	testkit.WaitFor(t, patience, "room for one more", func() bool { return s.Conns() == 1 })
	dial(t, addr)
}

// A client that is never idle is cut off all the same.
func TestLifeIsBounded(t *testing.T) {
	_, _, addr := start(t, func(o *Options) { o.Life = 300 * time.Millisecond })
	c := dial(t, addr)
	for began := time.Now(); ; {
		if c.Noop() != nil {
			return
		}
		if time.Since(began) > patience {
			t.Fatal("the connection outlives its life")
		}
	}
}

// A stop waits for the reply to a mail that has been sent, and cuts everybody
// else.
func TestShutdownLetsMailsEnd(t *testing.T) {
	s, b, addr := start(t, nil)
	idle, busy := dial(t, addr), dial(t, addr)
	if err := idle.Noop(); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- send(busy, "Subject: last\r\n\r\n") }()
	<-b.came
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- s.Shutdown(ctx)
	}()
	testkit.WaitFor(t, patience, "the idle connection to be cut", func() bool { return idle.Noop() != nil })
	select {
	case err := <-stopped:
		t.Fatalf("it stopped (%v) with a mail on its way", err)
	default:
	}
	b.let <- nil
	if err := <-sent; err != nil {
		t.Errorf("the mail that was on its way: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("a second stop: %v", err)
	}
}

// At the end of its time a stop cuts what is left.
func TestShutdownInAHurry(t *testing.T) {
	s, b, addr := start(t, nil)
	c := dial(t, addr)
	sent := make(chan error, 1)
	go func() { sent <- send(c, "Subject: cut\r\n\r\n") }()
	<-b.came
	hurry, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(hurry); err == nil || !strings.Contains(err.Error(), "stopping mails") {
		t.Errorf("the stop says %v", err)
	}
	if err := <-sent; err == nil {
		t.Error("the sender believes that its mail was taken")
	}
	b.let <- nil
}

// Content may have longer lines than RFC 5321 allows, and a mail may come in
// chunks (RFC 3030).
func TestLongLinesAndChunks(t *testing.T) {
	_, b, addr := start(t, nil)
	long := "Subject: x\r\n\r\n" + strings.Repeat("x", 20_000) + "\r\n"
	b.let <- nil
	if err := send(dial(t, addr), long); err != nil {
		t.Fatal(err)
	}
	if got := <-b.came; got != long {
		t.Errorf("%d bytes came", len(got))
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b.let <- nil
	in := textproto.NewReader(bufio.NewReader(conn))
	const text = "Subject: y\r\n\r\n.\r\n"
	for i, line := range []string{"", "EHLO x", "MAIL FROM:<>", "RCPT TO:<b@example.com>", fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text)} {
		if i > 0 {
			if _, err := io.WriteString(conn, strings.TrimSuffix(line, "\r\n")+"\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := in.ReadResponse(2); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if got := <-b.came; got != text {
		t.Errorf("in chunks came %q", got)
	}
}

// What is larger than announced is refused, and the connection stays.
func TestSizeIsBounded(t *testing.T) {
	_, b, addr := start(t, func(o *Options) { o.MaxBytes = 1000 })
	c := dial(t, addr)
	if ok, size := c.Extension("SIZE"); !ok || size != "1000" {
		t.Errorf("it announces %q", size)
	}
	if ok, _ := c.Extension("AUTH"); ok {
		t.Error("it offers a login")
	}
	if err := send(c, strings.Repeat("x\r\n", 1000)); err == nil || !strings.HasPrefix(err.Error(), "552") {
		t.Errorf("too much is answered %v", err)
	}
	b.let <- nil
	if err := send(c, "x\r\n"); err != nil {
		t.Errorf("the next mail: %v", err)
	}
	<-b.came
}
