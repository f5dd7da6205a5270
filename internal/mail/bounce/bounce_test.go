package bounce

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/tlsfile"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 30 * time.Second
	testID   = "01920000-0000-7000-8000-000000000001"
)

// shelf is a Store.
type shelf struct {
	mu     sync.Mutex
	err    error
	stored map[string]tasks.Feedback // by key
	calls  int
}

func (s *shelf) store(_ context.Context, key string, f tasks.Feedback) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return s.err
	}
	s.stored[key] = f
	return f.Validate()
}

func (s *shelf) all() (out []tasks.Feedback) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.stored {
		out = append(out, f)
	}
	return out
}

type rig struct {
	*Listener
	t       *testing.T
	shelf   *shelf
	reg     *prometheus.Registry
	returns *mail.ReturnPaths
	addr    string
}

func start(t *testing.T) *rig {
	t.Helper()
	return startWith(t, nil)
}

// startWith starts one that offers STARTTLS unless offered is nil.
func startWith(t *testing.T, offered *tls.Config) *rig {
	t.Helper()
	r := &rig{
		t: t, shelf: &shelf{stored: map[string]tasks.Feedback{}}, reg: prometheus.NewRegistry(),
		returns: mail.NewReturnPaths(mail.Config{BounceDomain: "bounces.example.com", Secret: "0123456789abcdef0123456789abcdef"}),
	}
	rdb := testkit.Redis(t).Client()
	r.Listener = New(Options{TLS: offered, Limiter: limit.New(rdb, testkit.Logger(t)), Reader: feedback.Reader{Returns: r.returns}, Store: r.shelf.store, Log: testkit.Logger(t), Metrics: r.reg})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- r.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(r.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return r
}

// send is a mail server's whole conversation.
func (r *rig) send(from, text string, to ...string) error {
	c, err := smtp.Dial(r.addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Hello("mx.example.org"); err != nil {
		return err
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, a := range to {
		if err := c.Rcpt(a); err != nil {
			return fmt.Errorf("to %s: %w", a, err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// says tells whether a server's reply has a code and an enhanced one.
func says(err error, code int, enhanced string) bool {
	var reply *textproto.Error
	return errors.As(err, &reply) && reply.Code == code && strings.HasPrefix(reply.Msg, enhanced+" ")
}

// count is a counter's value.
func (r *rig) count(name, label string) float64 {
	r.t.Helper()
	return testkit.Samples(r.t, r.reg)["postrider_bounces_"+name+"_total "+label]
}

func dsn(fields string) string {
	return strings.ReplaceAll(`From: MAILER-DAEMON@mx.example.org
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

`+fields+`
--b--
`, "\n", "\r\n")
}

const failed = "Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n"

// A bounce is stored as it came, with the address that it came to, once however
// often it comes.
func TestBounceIsStored(t *testing.T) {
	r := start(t)
	path := r.returns.Of(testID)
	for _, to := range []string{path, path, strings.ToUpper(path)} {
		if err := r.send("", dsn(failed), to); err != nil {
			t.Fatal(err)
		}
	}
	got := r.shelf.all()
	if len(got) != 1 || got[0].Provider != tasks.FeedbackMessage || got[0].Rcpt != path || string(got[0].Message) != dsn(failed) {
		t.Errorf("stored are %+v", got)
	}
	if n := r.count("received", "report"); n != 3 {
		t.Errorf("%v are counted", n)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// Two mails that came back at once are two to be kept, and a name that is given
// twice is one.
func TestBounceOfTwo(t *testing.T) {
	r := start(t)
	one, two := r.returns.Of(testID), r.returns.Of(strings.Replace(testID, "1920", "1921", 1))
	if err := r.send("mailer@example.org", dsn(failed), one, two, one); err != nil {
		t.Fatal(err)
	}
	var to []string
	for _, f := range r.shelf.all() {
		to = append(to, f.Rcpt)
	}
	if slices.Sort(to); !slices.Equal(to, []string{one, two}) {
		t.Errorf("stored are those to %q", to)
	}
}

// It is no relay: nothing but a return path that was signed here is taken.
func TestStrangersAreRefused(t *testing.T) {
	r := start(t)
	path := r.returns.Of(testID)
	strange := []string{
		"postmaster@bounces.example.com", "ann@example.org", "bounce+x.y@bounces.example.com",
		strings.Replace(path, "0001.", "0002.", 1), strings.Replace(path, "bounces.example.com", "other.example", 1),
		path + ".example", `"ann@example.org"@bounces.example.com`, "ann%example.org@bounces.example.com",
	}
	for _, to := range strange {
		if err := r.send("", dsn(failed), to); !says(err, 550, "5.1.1") {
			t.Errorf("%s is answered %v", to, err)
		}
	}
	if n := r.count("refused", "recipient"); n != float64(len(strange)) {
		t.Errorf("%v are counted", n)
	}
	if r.shelf.calls != 0 {
		t.Error("something was stored")
	}
}

// Who was sent a mail knows its return path. It takes so many mails, which says
// nothing about another's.
func TestOneMailComesBackSoOften(t *testing.T) {
	r := start(t)
	path := r.returns.Of(testID)
	taken := 0
	for ; taken < 20*perMail.N; taken++ { // a Redis that is slow to answer lets more pass
		if err := r.send("", dsn(failed+fmt.Sprintf("X-No: %d\n", taken)), path); says(err, 450, "4.7.1") {
			break
		} else if err != nil {
			t.Fatalf("mail %d: %v", taken, err)
		}
	}
	if n := r.count("refused", "rate"); n != 1 || taken < perMail.N || len(r.shelf.all()) != taken {
		t.Errorf("%d are taken, %v refused, %d stored", taken, n, len(r.shelf.all()))
	}
	if err := r.send("", dsn(failed), r.returns.Of(strings.Replace(testID, "1920", "1921", 1))); err != nil {
		t.Errorf("another mail: %v", err)
	}
}

// An absence note is taken and not kept: it is somebody's letter.
func TestLettersAreNotKept(t *testing.T) {
	r := start(t)
	for _, text := range []string{
		"Subject: out of office\r\nAuto-Submitted: auto-replied\r\n\r\nBack on Monday.\r\n", "no header at all\r\n", "\r\n",
		dsn("Final-Recipient: rfc822; ann@example.org\nAction: delayed\nStatus: 4.4.1\n"),
	} {
		if err := r.send("ann@example.org", text, r.returns.Of(testID)); err != nil {
			t.Errorf("%q is answered %v", text, err)
		}
	}
	if r.shelf.calls != 0 || r.count("received", "other") != 4 {
		t.Errorf("%d are stored", r.shelf.calls)
	}
}

// While the database is away senders are asked to come again.
func TestDatabaseAway(t *testing.T) {
	r := start(t)
	r.shelf.err = errors.New("no answer")
	if err := r.send("", dsn(failed), r.returns.Of(testID)); !says(err, 451, "4.3.0") {
		t.Errorf("it is answered %v", err)
	}
	if n := r.count("refused", "store"); n != 1 {
		t.Errorf("%v are counted", n)
	}
	r.shelf.err = nil
	if err := r.send("", dsn(failed), r.returns.Of(testID)); err != nil || len(r.shelf.all()) != 1 {
		t.Errorf("the next time: %v, stored %d", err, len(r.shelf.all()))
	}
}

// Of a mail that comes back whole the beginning is kept; one that is cut off is
// not; one that is too large is refused.
func TestSizes(t *testing.T) {
	r := start(t)
	path := r.returns.Of(testID)
	filler := strings.Repeat(strings.Repeat("x", 98)+"\r\n", tasks.MaxFeedbackMessage/100)
	if err := r.send("", dsn(failed)+filler, path); err != nil {
		t.Fatal(err)
	}
	if got := r.shelf.all(); len(got) != 1 || len(got[0].Message) != tasks.MaxFeedbackMessage {
		t.Errorf("stored are %d", len(got))
	}
	huge := strings.Repeat(filler, feedback.MaxMessage/len(filler)+1)
	if err := r.send("", dsn(failed)+huge, path); err == nil || !strings.HasPrefix(err.Error(), "552") {
		t.Errorf("too large a mail is answered %v", err)
	}
	c, err := smtp.Dial(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Mail(""), c.Rcpt(path)); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, dsn(failed)); err != nil {
		t.Fatal(err)
	}
	if err := c.Text.W.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	testkit.WaitFor(t, patience, "the mail that was cut off", func() bool { return r.count("refused", "broken") == 1 })
	if n := r.count("refused", "size"); n != 1 || len(r.shelf.all()) != 1 {
		t.Errorf("%v are counted as too large, %d stored", n, len(r.shelf.all()))
	}
}

// STARTTLS is offered with a certificate, and what comes by it is taken as
// before; without one nothing is offered.
func TestBounceByTLS(t *testing.T) {
	cert, key := testkit.Certificate(t)
	c := Config{Addr: ":25", TLSCert: cert, TLSKey: key}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	offered, err := c.TLS()
	if err != nil {
		t.Fatal(err)
	}
	r := startWith(t, offered)
	roots, err := tlsfile.Authorities(cert)
	if err != nil {
		t.Fatal(err)
	}
	client, err := smtp.Dial(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := client.StartTLS(&tls.Config{RootCAs: roots, ServerName: "localhost"}); err != nil {
		t.Fatal(err)
	}
	if again, _ := client.Extension("STARTTLS"); again {
		t.Error("STARTTLS is offered within TLS")
	}
	if err := client.Mail(""); err != nil {
		t.Fatal(err)
	}
	if err := client.Rcpt(r.returns.Of(testID)); err != nil {
		t.Fatal(err)
	}
	w, err := client.Data()
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, dsn(failed))
	if err := errors.Join(err, w.Close(), client.Quit()); err != nil {
		t.Fatal(err)
	}
	if got := r.shelf.all(); len(got) != 1 || string(got[0].Message) != dsn(failed) {
		t.Errorf("stored are %+v", got)
	}

	plain, err := smtp.Dial(start(t).addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	if offers, _ := plain.Extension("STARTTLS"); offers {
		t.Error("STARTTLS is offered without a certificate")
	}
	if err := (Config{TLSCert: cert, TLSKey: cert}).Validate(); err == nil || !strings.Contains(err.Error(), "POSTRIDER_BOUNCE_TLS") {
		t.Errorf("a certificate for a key: %v", err)
	}
}
