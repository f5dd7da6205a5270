package testkit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func smtpSend(t *testing.T, s *SMTP, id string) error {
	t.Helper()
	body := "Message-ID: " + id + "\r\nSubject: x\r\n\r\n.dots\r\n.\r\nend\r\n"
	return smtp.SendMail(s.Addr(), nil, "a@example.com", []string{"b@example.com", "c@example.com"}, []byte(body))
}

func TestSMTPRecords(t *testing.T) {
	s := NewSMTP(t)
	for range 2 {
		if err := smtpSend(t, s, "<1@x>"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	mails, err := s.Wait(ctx, 2)
	if err != nil || len(mails) != 2 || s.Count("<1@x>") != 2 || s.Dots("<1@x>") != 2 || s.Count("<2@x>") != 0 {
		t.Fatalf("got %d mails, %v", len(mails), err)
	}
	m := mails[0]
	if m.From != "a@example.com" || len(m.To) != 2 || !strings.HasSuffix(string(m.Data), "\r\n\r\n.dots\r\n.\r\nend\r\n") {
		t.Errorf("got %+v", m)
	}
	if s.Seen(SMTPAtRcpt) != 4 {
		t.Errorf("RCPT seen %d times", s.Seen(SMTPAtRcpt))
	}
	cancel()
	if _, err := s.Wait(ctx, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait for more than there is: %v", err)
	}
}

// TestSMTPScript: actions queued by Once come first, one each, then what On has
// set, and what was not accepted is not recorded.
func TestSMTPScript(t *testing.T) {
	s := NewSMTP(t)
	s.Once(SMTPAtDot, SMTPReply(451, "4.3.0 later"), SMTPClose().Accepting())
	s.On(SMTPAtDot, SMTPReply(550, "5.7.1 no", "and no again"))
	refusal := &textproto.Error{Code: 550, Msg: "5.7.1 no\nand no again"}
	for i, want := range []error{&textproto.Error{Code: 451, Msg: "4.3.0 later"}, io.EOF, refusal, refusal} {
		if err := smtpSend(t, s, "<1@x>"); err == nil || err.Error() != want.Error() {
			t.Errorf("message %d: got %v, want %v", i, err, want)
		}
	}
	if s.Count("<1@x>") != 1 || s.Dots("<1@x>") != 4 {
		t.Errorf("accepted %d, dots %d", s.Count("<1@x>"), s.Dots("<1@x>"))
	}
}

func TestSMTPCloseEndsAHang(t *testing.T) {
	s := NewSMTP(t)
	s.On(SMTPAtMail, SMTPHang())
	failed := make(chan error, 1)
	go func() { failed <- smtpSend(t, s, "<1@x>") }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.WaitVerb(ctx, SMTPAtMail, 1); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := <-failed; err == nil {
		t.Error("the client was answered")
	}
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Error("the listener is still open")
	}
}

func TestSMTPDemandsLogin(t *testing.T) {
	s := NewSMTP(t, SMTPLogin("ann", "se:cret"))
	var refused *textproto.Error
	if err := smtpSend(t, s, "<1@x>"); !errors.As(err, &refused) || refused.Code != 530 {
		t.Errorf("without a login: %v", err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	for _, password := range []string{"wrong", password} {
		auth := smtp.PlainAuth("", u.User.Username(), password, u.Hostname())
		err := smtp.SendMail(u.Host, auth, "a@example.com", []string{"b@example.com"}, []byte("x"))
		if password == "wrong" && (!errors.As(err, &refused) || refused.Code != 535) || password != "wrong" && err != nil {
			t.Errorf("%s: %v", password, err)
		}
	}
}

// TestSMTPEndsAtCRLFDotCRLFOnly: a server that ends a mail at a bare LF would
// hide a client that sends one.
func TestSMTPEndsAtCRLFDotCRLFOnly(t *testing.T) {
	s := NewSMTP(t)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for _, line := range []string{"", "MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA"} {
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(conn, "Message-ID: <1@x>\r\n\r\na\n.\nb\n.\r\nc\r\n.\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if mails := s.Mails(); len(mails) != 1 || !strings.HasSuffix(string(mails[0].Data), "a\n.\nb\n.\r\nc\r\n") {
		t.Errorf("got %+v", mails)
	}
}

// TestSMTPOptionsAreShared: a table test makes its servers of one option, side
// by side; the race detector tells.
func TestSMTPOptionsAreShared(t *testing.T) {
	options := []SMTPOption{SMTPLogin("ann", "s3cret"), SMTPExtension("SMTPUTF8"), SMTPOfferTLS()}
	var made sync.WaitGroup
	for range 8 {
		made.Go(func() {
			if s := NewSMTP(t, options...); !strings.Contains(s.URL(), "ann:s3cret@") {
				t.Errorf("the URL is %s", s.URL())
			}
		})
	}
	made.Wait()
}
