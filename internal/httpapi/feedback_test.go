package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/tasks"
)

const feedbackKey = "0123456789abcdef"

func withFeedback(t testing.TB) func(*Options) {
	return func(o *Options) {
		asker, err := fetch.New(fetch.Config{})
		if err != nil {
			t.Fatal(err)
		}
		o.Feedback, err = feedback.NewReceiver(feedback.Options{
			Config: feedback.Config{GenericKey: feedbackKey, MailgunKey: feedbackKey, PostmarkSecret: feedbackKey}, Now: time.Now, Fetch: asker.Get,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func signGeneric(body string) string {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	return "t=" + stamp + ",v1=" + feedback.SignGeneric(feedbackKey, stamp, []byte(body))
}

// A webhook is stored before it is thanked for, once, and nothing that is not
// authentic is.
func TestFeedbackIsStored(t *testing.T) {
	s := serve(t, withFeedback(t), withKeys(t))
	const body = `{"events": [{"id":"1","type":"delivered","address":"a@example.com"}]}`
	for range 2 { // providers send twice
		s.post("/feedback/generic", body, feedback.GenericHeader, signGeneric(body)).want(http.StatusOK)
	}
	jobs := s.all()
	if len(jobs) != 1 || jobs[0].Type != tasks.FeedbackReceive.Name || jobs[0].AcceptedBy != "feedback:generic" {
		t.Fatalf("stored are %+v", jobs)
	}
	f, err := tasks.FeedbackReceive.Decode(s.stored(string(jobs[0].ID)).Payload)
	if err != nil || f.Provider != "generic" || string(f.Event) != strings.ReplaceAll(body, ": [", ":[") {
		t.Errorf("the payload is %+v (%v)", f, err)
	}

	s.post("/feedback/generic", body+" ", feedback.GenericHeader, signGeneric(body)).want(http.StatusForbidden)
	s.post("/feedback/generic", body).want(http.StatusForbidden)
	s.post("/feedback/ses", body).want(http.StatusNotFound)
	s.post("/feedback/nobody", body).want(http.StatusNotFound)
	s.post("/feedback/generic", "not JSON", feedback.GenericHeader, signGeneric("not JSON")).want(http.StatusBadRequest)
	s.post("/feedback/generic", strings.Repeat("x", tasks.MaxFeedbackEvent+1)).want(http.StatusRequestEntityTooLarge)
	if n := len(s.all()); n != 1 {
		t.Errorf("%d jobs are stored", n)
	}
}

// Mailgun's signature does not cover the body: with another body it is a forgery.
func TestFeedbackTokenServesOnce(t *testing.T) {
	s := serve(t, withFeedback(t))
	stamp, token := strconv.FormatInt(time.Now().Unix(), 10), strings.Repeat("0123456789", 5)
	body := func(event string) string {
		return `{"signature":{"timestamp":"` + stamp + `","token":"` + token + `","signature":"` + mailgunSign(stamp+token) +
			`"},"event-data":{"id":"1","event":"` + event + `"}}`
	}
	s.post("/feedback/mailgun", body("delivered")).want(http.StatusOK)
	s.post("/feedback/mailgun", body("delivered")).want(http.StatusOK)
	s.post("/feedback/mailgun", body("complained")).want(http.StatusForbidden)
	if n := len(s.all()); n != 1 {
		t.Errorf("%d jobs are stored", n)
	}
}

// Postmark has a password only. Without it the answer asks for one: after a 403
// Postmark would not come again.
func TestFeedbackAsksForPassword(t *testing.T) {
	s := serve(t, withFeedback(t))
	const body = `{"RecordType":"Delivery","Recipient":"a@example.com","DeliveredAt":"2026-07-01T12:00:00Z"}`
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("postmark:"+password))
	}
	for _, header := range [][]string{nil, {"Authorization", basic("wrong")}, {"Authorization", "Bearer " + feedbackKey}} {
		a := s.post("/feedback/postmark", body, header...).want(http.StatusUnauthorized)
		if got := a.header.Get("WWW-Authenticate"); got != `Basic realm="postrider"` {
			t.Errorf("%q is asked for %q", header, got)
		}
	}
	s.post("/feedback/postmark", body, "Authorization", basic(feedbackKey)).want(http.StatusOK)
	if n := len(s.all()); n != 1 {
		t.Errorf("%d jobs are stored", n)
	}
}

func mailgunSign(text string) string {
	mac := hmac.New(sha256.New, []byte(feedbackKey))
	_, _ = mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestFeedbackMessage(t *testing.T) {
	s := serve(t, withFeedback(t), withKeys(t))
	post := func(media, body, key string) answer {
		r := httptest.NewRequest(http.MethodPost, "/feedback/message?rcpt=bounce%2Bx@bounces.example.com", strings.NewReader(body))
		r.Header.Set("Content-Type", media)
		r.Header.Set("X-API-Key", key)
		return s.send(r)
	}
	const raw = "Subject: back\r\n\r\n\xff"
	long := raw + strings.Repeat("x", tasks.MaxFeedbackMessage)
	post("message/rfc822", raw, "writer-secret-0000").want(http.StatusOK)
	post("message/rfc822", raw, "writer-secret-0000").want(http.StatusOK)
	post("message/rfc822", long, "writer-secret-0000").want(http.StatusOK)
	post("message/rfc822", raw, "reader-secret-0000").want(http.StatusForbidden)
	post("message/rfc822", raw, "").want(http.StatusUnauthorized)
	post("text/plain", raw, "writer-secret-0000").want(http.StatusUnsupportedMediaType)
	jobs := s.all()
	if len(jobs) != 2 {
		t.Fatalf("%d jobs are stored", len(jobs))
	}
	f, err := tasks.FeedbackReceive.Decode(s.stored(string(jobs[1].ID)).Payload)
	if err != nil || string(f.Message) != raw || f.Rcpt != "bounce+x@bounces.example.com" {
		t.Errorf("the payload is %+v (%v)", f, err)
	}
	f, err = tasks.FeedbackReceive.Decode(s.stored(string(jobs[0].ID)).Payload)
	if err != nil || string(f.Message) != long[:tasks.MaxFeedbackMessage] {
		t.Errorf("of a long message %d bytes are kept (%v)", len(f.Message), err)
	}
}
