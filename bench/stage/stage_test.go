package stage

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each answer comes a round trip later, and many may be under way.
func TestDistance(t *testing.T) {
	echo := listen(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	const trip = 20 * time.Millisecond
	d, err := NewDistance(echo, trip)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := net.Dial("tcp", d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	const requests = 50
	began := time.Now()
	for range requests {
		if _, err := c.Write([]byte("ping\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // so that they are parcels of their own
	}
	for i := range requests {
		line, err := r.ReadString('\n')
		if err != nil || line != "ping\n" {
			t.Fatalf("answer %d is %q, %v", i, line, err)
		}
		if took := time.Since(began); i == 0 && took < trip {
			t.Errorf("the first answer took %s, want %s at least", took, trip)
		}
	}
	if took := time.Since(began); took > requests*trip/2 {
		t.Errorf("%d requests took %s: one waits for the other", requests, took)
	}
}

// Closing cuts what is open, and waits for it.
func TestDistanceCloses(t *testing.T) {
	echo := listen(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	d, err := NewDistance(echo, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlives the proxy")
	}
}

// The sink counts what a mail client sends, lines with dots included.
func TestSink(t *testing.T) {
	s, err := NewSink()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	long := strings.Repeat("x", 10_000)
	for _, text := range []string{"Subject: a\r\n\r\nb\r\n", "Subject: dots\r\n\r\n.\r\n..\r\n" + long + "\r\n"} {
		if err := smtp.SendMail(s.Addr, nil, "bench@example.com", []string{"user@example.com"}, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if n, last := s.Mails(); n != 2 || time.Since(last) > time.Minute {
		t.Errorf("the sink has taken %d mails, the last at %s; want 2, just now", n, last)
	}
}

func TestLoad(t *testing.T) {
	status := http.StatusAccepted
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "{}" || r.Method != http.MethodPost || r.URL.Path != "/jobs" {
			t.Errorf("got %s %s with %q, %v", r.Method, r.URL.Path, body, err)
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	l := Load{Addr: server.Listener.Addr().String(), Path: "/jobs", Body: "{}", Callers: 4}
	perSecond, err := l.Run(context.Background(), time.Second, time.Second)
	if _, absent := exec.LookPath("wrk"); absent != nil {
		if !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("without wrk: %v", err)
		}
		return
	}
	if err != nil || perSecond <= 0 {
		t.Errorf("the load got %v answers a second, %v", perSecond, err)
	}
	status = http.StatusServiceUnavailable
	if _, err := l.Run(context.Background(), time.Second, time.Second); err == nil || !strings.Contains(err.Error(), "were refused") {
		t.Errorf("refused requests are counted: %v", err)
	}
}

// listen serves each connection until the test ends.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}
