package mail

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 15 * time.Second

func newSender(t *testing.T, srv *testkit.SMTP, timeout time.Duration) *Sender {
	t.Helper()
	return newSenderURL(t, srv, srv.URL(), timeout)
}

func newSenderURL(t *testing.T, srv *testkit.SMTP, url string, timeout time.Duration) *Sender {
	t.Helper()
	s, err := New(Options{
		Config:  Config{URL: url, From: "Shop <shop@example.com>", Timeout: timeout},
		Senders: 4, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.providers[0].tls.RootCAs = srv.Roots()
	return s
}

func testMessage() Message {
	return Message{
		ID:      "01hzy",
		Date:    time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Rcpt:    "user@example.org",
		Subject: "Welcome!",
		Text:    "Thanks for signing up.\n.\n..two\n",
	}
}

const testMessageID = "<01hzy@example.com>"

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
