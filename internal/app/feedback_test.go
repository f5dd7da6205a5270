package app

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/smtp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/testkit"
)

const feedbackKey = "0123456789abcdef0123456789abcdef"

// returns is an api and a worker on a real Redis and PostgreSQL, whose mails go
// to a scripted server.
type returns struct {
	t       *testing.T
	api     *App
	smtp    *testkit.SMTP
	cluster *testkit.PostgresCluster
}

func startReturns(t *testing.T, fetch feedback.Fetch) *returns {
	t.Helper()
	smtp := testkit.NewSMTP(t)
	return startReturnsBy(t, fetch, smtp, smtp.URL())
}

// startReturnsBy has mails sent by another server, on their way to the scripted
// one.
func startReturnsBy(t *testing.T, fetch feedback.Fetch, smtp *testkit.SMTP, url string) *returns {
	t.Helper()
	r := &returns{t: t, smtp: smtp, cluster: testkit.PostgresServer(t)}
	environ := []string{
		"REDIS_URL=" + testkit.Redis(t).URL(), "DATABASE_URL=" + r.cluster.Database(), "SMTP_URL=" + url,
		"POSTRIDER_SECRET=" + feedbackKey, "POSTRIDER_BOUNCE_DOMAIN=bounces.example.com", "POSTRIDER_BOUNCE_ADDR=127.0.0.1:0",
		"POSTRIDER_FEEDBACK_GENERIC_KEY=" + feedbackKey, "POSTRIDER_FEEDBACK_SES_TOPICS=" + snsTopic,
	}
	r.api = buildWith(t, fetch, API, environ...)
	if err := r.api.Start(); err != nil {
		t.Fatal(err)
	}
	boot(t, Worker, environ...)
	return r
}

// send has a mail sent and returns its job and its envelope sender.
func (r *returns) send(to string) (id, path string) {
	r.t.Helper()
	n := len(r.smtp.Mails())
	id = post(r.t, r.api.Addr(), "/jobs/send-email", email(to, "Welcome")).ID
	ctx, cancel := context.WithTimeout(r.t.Context(), patienceInTests)
	defer cancel()
	mails, err := r.smtp.Wait(ctx, n+1)
	if err != nil {
		r.t.Fatal(err)
	}
	testkit.WaitFor(r.t, patienceInTests, "the mail to be recorded", func() bool { return stateOf(r.t, r.api.Addr(), id) == "done" })
	return id, mails[n].From
}

// wantEvent waits until the job's history has an event from an actor.
func (r *returns) wantEvent(id, kind, actor, message string) {
	r.t.Helper()
	var job struct {
		State  string
		Events []struct{ Kind, Actor, Message string }
	}
	testkit.WaitFor(r.t, patienceInTests, "the event "+kind+" of "+id, func() bool {
		get(r.t, r.api.Addr(), "/jobs/"+id, &job)
		for _, e := range job.Events {
			if e.Kind == kind {
				if e.Actor != actor || !strings.Contains(e.Message, message) || job.State != "done" {
					r.t.Errorf("it is %+v of a job that is %s", e, job.State)
				}
				return true
			}
		}
		return false
	})
}

// wantSuppressed checks that an address is on the list, and that it gets no more
// mail.
func (r *returns) wantSuppressed(address, reason, id string) {
	r.t.Helper()
	var list struct {
		Suppressions []struct {
			Reason string
			JobID  string `json:"job_id"`
		}
	}
	get(r.t, r.api.Addr(), "/suppressions?address="+address, &list)
	if len(list.Suppressions) != 1 || list.Suppressions[0].Reason != reason || list.Suppressions[0].JobID != id {
		r.t.Errorf("suppressed are %+v, want %s by %s", list.Suppressions, reason, id)
	}
	n := len(r.smtp.Mails())
	if next := post(r.t, r.api.Addr(), "/jobs/send-email", email(address, "Again")); next.State != "suppressed" {
		r.t.Errorf("the next mail is answered %+v", next)
	}
	if got := len(r.smtp.Mails()); got != n {
		r.t.Errorf("%d mails went out", got-n)
	}
}

// deliver is a mail server that brings a mail to the listener.
func (r *returns) deliver(to, text string) error {
	return smtp.SendMail(r.api.BounceAddr(), nil, "", []string{to}, []byte(strings.ReplaceAll(text, "\n", "\r\n")))
}

func report(to, recipient string) string {
	return `From: MAILER-DAEMON@mx.example.org
To: ` + to + `
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; ` + recipient + `
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
`
}

// The whole way of a mail that comes back: sent with a return path of its own,
// reported to that by SMTP, told on its job, and the last to that address.
func TestBounceComesBack(t *testing.T) {
	r := startReturns(t, nil)
	id, path := r.send("ann@example.org")
	if !strings.HasPrefix(path, "bounce+"+id+".") {
		t.Fatalf("the mail's return path is %s", path)
	}
	other, _ := r.send("bob@example.org")
	for range 2 { // the 250 of the first was lost
		if err := r.deliver(path, report(path, "ann@example.org")); err != nil {
			t.Fatal(err)
		}
	}
	r.wantEvent(id, "bounced", "message", "no such user")
	r.wantSuppressed("ann@example.org", "bounce", id)

	if err := r.deliver("ann@example.org", "Subject: relay me\n\nx\n"); err == nil || !strings.HasPrefix(err.Error(), "550") || !strings.Contains(err.Error(), "5.1.1") {
		t.Errorf("a mail for somebody else is answered %v", err)
	}
	if got := post(t, r.api.Addr(), "/jobs/send-email", email("bob@example.org", "Hello")); got.State != "queued" {
		t.Errorf("a mail to %s's recipient is answered %+v", other, got)
	}
	var story struct {
		Events []struct{ Kind string }
	}
	get(t, r.api.Addr(), "/jobs/"+id, &story)
	bounced := 0
	for _, e := range story.Events {
		if e.Kind == "bounced" {
			bounced++
		}
	}
	text := metrics(t, r.api.Addr())
	if bounced != 1 || !strings.Contains(text, `postrider_bounces_received_total{kind="report"} 2`) || !strings.Contains(text, `postrider_bounces_refused_total{reason="recipient"} 1`) {
		t.Errorf("the history has %d bounces", bounced)
	}
	if code, status := ready(t, r.api.Addr()); code != http.StatusOK || status.Checks["bounces"] != "ok" {
		t.Errorf("readyz: %d %+v", code, status)
	}
}

// The same with a mail server of Debian on the way: it takes the mail, the
// recipient's server refuses it later, and it reports that to the return path.
func TestRealServerReturnsMail(t *testing.T) {
	exim, mx := testkit.NewExim(t, 100), testkit.NewSMTP(t)
	mx.On(testkit.SMTPAtRcpt, testkit.SMTPReply(550, "5.1.1 no such user"))
	r := startReturnsBy(t, nil, mx, exim.PlainURL())
	id := post(t, r.api.Addr(), "/jobs/send-email", email("ann@example.org", "Welcome")).ID
	testkit.WaitFor(t, patienceInTests, "the mail to be recorded", func() bool { return stateOf(t, r.api.Addr(), id) == "done" })
	exim.Deliver(mx.Addr(), r.api.BounceAddr())
	if log := exim.Log(); !strings.Contains(log, "=> bounce+"+id) {
		t.Fatalf("exim4 reports nothing:\n%s", log)
	}
	r.wantEvent(id, "bounced", "message", "no such user")
	r.wantSuppressed("ann@example.org", "bounce", id)
}

// Without a database nothing is thanked for: the server that brings the mail
// keeps it, and brings it again.
func TestBounceWithoutDatabase(t *testing.T) {
	r := startReturns(t, nil)
	id, path := r.send("ann@example.org")
	r.cluster.Kill()
	if err := r.deliver(path, report(path, "ann@example.org")); err == nil || !strings.HasPrefix(err.Error(), "451") {
		t.Errorf("without a database it is answered %v", err)
	}
	r.cluster.Start()
	testkit.WaitFor(t, patienceInTests, "the mail to be taken", func() bool { return r.deliver(path, report(path, "ann@example.org")) == nil })
	r.wantEvent(id, "bounced", "message", "no such user")
}

// The whole way of a webhook, to the event of the mail's job.
func TestWebhooksReachTheirJobs(t *testing.T) {
	amazon := newSNS(t)
	r := startReturns(t, amazon.fetch)
	hook := func(provider, body string, header ...string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.api.Addr()+"/feedback/"+provider, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}

	id, _ := r.send("ann@example.org")
	body := `{"events":[{"id":"e-1","type":"complained","job_id":"` + id + `","address":"ann@example.org","text":"it is spam"}]}`
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	if code := hook("generic", body, feedback.GenericHeader, "t="+stamp+",v1="+feedback.SignGeneric(feedbackKey, stamp, []byte(body))); code != http.StatusOK {
		t.Fatalf("the generic webhook is answered %d", code)
	}
	if code := hook("generic", body, feedback.GenericHeader, "t="+stamp+",v1=00"); code != http.StatusForbidden {
		t.Errorf("a forged one is answered %d", code)
	}
	r.wantEvent(id, "complained", "generic", "it is spam")
	r.wantSuppressed("ann@example.org", "complaint", id)

	if code := hook("ses", amazon.message("SubscriptionConfirmation", "You have chosen to subscribe")); code != http.StatusOK || len(amazon.confirmed) != 1 {
		t.Fatalf("the subscription is answered %d, confirmed %q", code, amazon.confirmed)
	}
	id, path := r.send("bob@example.org")
	told := fmt.Sprintf(`{"notificationType":"Bounce","mail":{"messageId":"m-1","source":%q},"bounce":{"bounceType":"Permanent","timestamp":"2026-07-01T12:00:00.000Z",
		"bouncedRecipients":[{"emailAddress":"bob@example.org","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"}]}}`, path)
	for range 2 { // SNS delivers at least once
		if code := hook("ses", amazon.message("Notification", told)); code != http.StatusOK {
			t.Fatalf("the notification is answered %d", code)
		}
	}
	if code := hook("ses", newSNS(t).message("Notification", told)); code != http.StatusForbidden {
		t.Errorf("another's signature is answered %d", code)
	}
	r.wantEvent(id, "bounced", "ses", "user unknown")
	r.wantSuppressed("bob@example.org", "bounce", id)
}

const (
	snsTopic = "arn:aws:sns:eu-west-1:123456789012:mail"
	snsCert  = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem"
)

// sns plays Amazon SNS: it signs messages as its documentation describes, and
// has the certificate that they name.
type sns struct {
	t         *testing.T
	key       *rsa.PrivateKey
	cert      []byte
	confirmed []string
}

func newSNS(t *testing.T) *sns {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &sns{t: t, key: key, cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// fetch answers for amazonaws.com.
func (s *sns) fetch(_ context.Context, url string) ([]byte, error) {
	if url == snsCert {
		return s.cert, nil
	}
	s.confirmed = append(s.confirmed, url)
	return nil, nil
}

// message is a signed one, SignatureVersion 2.
func (s *sns) message(kind, text string) string {
	s.t.Helper()
	m := map[string]string{
		"Type": kind, "MessageId": "m-1", "TopicArn": snsTopic, "Message": text,
		"Timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "SignatureVersion": "2", "SigningCertURL": snsCert,
	}
	fields := []string{"Message", "MessageId", "Timestamp", "TopicArn", "Type"}
	if kind != "Notification" {
		m["Token"], m["SubscribeURL"] = "token", "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=token"
		fields = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var signed bytes.Buffer
	for _, f := range fields {
		fmt.Fprintf(&signed, "%s\n%s\n", f, m[f])
	}
	sum := sha256.Sum256(signed.Bytes())
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(signature)
	body, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}
