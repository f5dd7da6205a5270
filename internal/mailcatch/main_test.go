package mailcatch

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"net/smtp"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 15 * time.Second

// start serves a mailbox and returns its SMTP address; the cleanup checks that
// it stops cleanly.
func start(t *testing.T) (s *Server, addr string) {
	t.Helper()
	s = New(testkit.Logger(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

// serveWeb serves the mailbox's pages and returns their origin.
func serveWeb(t *testing.T, s *Server) string {
	t.Helper()
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	return web.URL
}

// put sends a mail by SMTP. Line ends are LF in the source of tests.
func put(t *testing.T, addr, to, raw string) {
	t.Helper()
	if err := smtp.SendMail(addr, nil, "shop@example.com", []string{to}, []byte(raw)); err != nil {
		t.Fatalf("sending: %v", err)
	}
}

func simple(subject string) string {
	return fmt.Sprintf("From: Shop <shop@example.com>\nTo: user@example.org\nSubject: %s\n\nHello.\n", subject)
}
