package feedback

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/mail"
)

const testID = "01920000-0000-7000-8000-000000000001"

func testReader() Reader {
	return Reader{mail.NewReturnPaths(mail.Config{BounceDomain: "bounces.example.com", Secret: "0123456789abcdef0123456789abcdef"})}
}

// inShort is feedback as tests compare it.
func inShort(all []mail.Feedback) []string {
	var out []string
	for _, f := range all {
		out = append(out, fmt.Sprintf("%s %v/%s <%s> job=%v %d %s", f.Kind, f.Permanent, f.Suppress, f.Address, f.Job == testID, f.ReplyCode, f.Message))
	}
	return out
}

func sns(message string) string {
	body, _ := json.Marshal(envelope{Type: snsNotification, Message: message})
	return string(body)
}

func TestEvents(t *testing.T) {
	r := testReader()
	for name, c := range map[string]struct {
		provider, body string
		want           []string
	}{
		"ses hard bounce, by return path": {"ses", sns(`{"notificationType":"Bounce","mail":{"messageId":"m","source":"` + r.Returns.Of(testID) + `"},
			"bounce":{"bounceType":"Permanent","timestamp":"2026-07-01T12:00:00.000Z","bouncedRecipients":[
			{"emailAddress":"Ann@Example.com","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"},{"emailAddress":"b@example.com"}]}}`),
			[]string{"bounced true/bounce <ann@example.com> job=true 550 smtp; 550 5.1.1 user unknown", "bounced true/bounce <b@example.com> job=true 0 "}},
		"ses soft bounce": {"ses", sns(`{"eventType":"Bounce","mail":{},"bounce":{"bounceType":"Transient","bouncedRecipients":[{"emailAddress":"a@example.com"}]}}`),
			[]string{"bounced false/ <a@example.com> job=false 0 "}},
		"ses complaint, by header": {"ses", sns(`{"notificationType":"Complaint","mail":{"headers":[{"name":"Message-ID","value":"<` + testID + `@example.com>"}]},
			"complaint":{"complainedRecipients":[{"emailAddress":"a@example.com"}],"complaintFeedbackType":"abuse"}}`),
			[]string{"complained false/complaint <a@example.com> job=true 0 abuse"}},
		"ses delivery": {"ses", sns(`{"notificationType":"Delivery","mail":{},"delivery":{"recipients":["a@example.com"],"smtpResponse":"250 ok"}}`),
			[]string{"delivered false/ <a@example.com> job=false 250 250 ok"}},
		"ses open": {"ses", sns(`{"eventType":"Open","mail":{}}`), nil},
		"sendgrid": {"sendgrid", `[
			{"email":"a@example.com","event":"delivered","smtp-id":"<` + testID + `@example.com>","sg_event_id":"1","response":"250 OK"},
			{"email":"a@example.com","event":"bounce","type":"bounce","sg_event_id":"2","reason":"550 5.1.1 gone","timestamp":1782907200},
			{"email":"a@example.com","event":"bounce","type":"blocked","sg_event_id":"3","reason":"554 blocked"},
			{"email":"a@example.com","event":"dropped","sg_event_id":"4","reason":"Bounced Address"},
			{"email":"a@example.com","event":"dropped","sg_event_id":"5","reason":"Unsubscribed Address"},
			{"email":"a@example.com","event":"spamreport","sg_event_id":"6"},
			{"email":"a@example.com","event":"open","sg_event_id":"7"},{"email":"a@example.com","event":"deferred","sg_event_id":"8"}]`,
			[]string{
				"delivered false/ <a@example.com> job=true 250 250 OK", "bounced true/bounce <a@example.com> job=false 550 550 5.1.1 gone",
				"bounced false/ <a@example.com> job=false 554 554 blocked", "bounced true/bounce <a@example.com> job=false 0 Bounced Address",
				"bounced false/ <a@example.com> job=false 0 Unsubscribed Address", "complained false/complaint <a@example.com> job=false 0 ",
			}},
		"postmark bounce": {"postmark", `{"RecordType":"Bounce","MessageID":"m","Type":"HardBounce","Email":"a@example.com","Details":"smtp;550 5.1.1 gone","Metadata":{"postrider-job":"` + testID + `"}}`,
			[]string{"bounced true/bounce <a@example.com> job=true 550 smtp;550 5.1.1 gone"}},
		"postmark soft bounce": {"postmark", `{"RecordType":"Bounce","Type":"SoftBounce","Email":"a@example.com","Description":"full"}`,
			[]string{"bounced false/ <a@example.com> job=false 0 full"}},
		"postmark delivery":  {"postmark", `{"RecordType":"Delivery","Recipient":"a@example.com","Details":"250 ok"}`, []string{"delivered false/ <a@example.com> job=false 250 250 ok"}},
		"postmark complaint": {"postmark", `{"RecordType":"SpamComplaint","Email":"a@example.com"}`, []string{"complained false/complaint <a@example.com> job=false 0 "}},
		"postmark open":      {"postmark", `{"RecordType":"Open"}`, nil},
		"mailgun bounce": {"mailgun", `{"event-data":{"id":"1","event":"failed","severity":"permanent","reason":"bounce","recipient":"a@example.com","timestamp":1782907200.5,
			"delivery-status":{"code":550,"message":"5.1.1 gone"},"message":{"headers":{"message-id":"` + testID + `@example.com"}}}}`,
			[]string{"bounced true/bounce <a@example.com> job=true 550 5.1.1 gone"}},
		"mailgun gave up": {"mailgun", `{"event-data":{"id":"1","event":"failed","severity":"permanent","reason":"old","recipient":"a@example.com"}}`,
			[]string{"bounced true/ <a@example.com> job=false 0 "}},
		"mailgun tries again": {"mailgun", `{"event-data":{"id":"1","event":"failed","severity":"temporary"}}`, nil},
		"mailgun complaint":   {"mailgun", `{"event-data":{"id":"1","event":"complained","recipient":"a@example.com"}}`, []string{"complained false/complaint <a@example.com> job=false 0 "}},
		"mailgun click":       {"mailgun", `{"event-data":{"id":"1","event":"clicked"}}`, nil},
		"generic": {"generic", `{"events":[{"id":"1","type":"bounced","address":"a@example.com","job_id":"` + testID + `","permanent":true,"code":550,"text":"gone","time":"2026-07-01T12:00:00Z"},
			{"id":"2","type":"delivered","address":"nobody","message_id":"<` + testID + `@example.com>"}]}`,
			[]string{"bounced true/bounce <a@example.com> job=true 550 gone", "delivered false/ <> job=true 0 "}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := r.Events(c.provider, []byte(c.body))
			if err != nil || !reflect.DeepEqual(inShort(got), c.want) {
				t.Errorf("read %v\n%s\nwant\n%s", err, strings.Join(inShort(got), "\n"), strings.Join(c.want, "\n"))
			}
			names := map[string]bool{}
			for _, f := range got {
				if f.Event == "" || names[f.Event] || f.Provider != c.provider || f.At.IsZero() {
					t.Errorf("it is named %q by %q at %s", f.Event, f.Provider, f.At)
				}
				names[f.Event] = true
			}
		})
	}
}

func TestEventsBroken(t *testing.T) {
	for provider, bodies := range map[string][]string{
		"ses": {"x", `{"Message":"x"}`}, "sendgrid": {"{}"}, "postmark": {"[]"}, "mailgun": {`{"event-data":{"event":"delivered"}}`},
		"generic": {`{"events":[{"id":"1","type":"opened"}]}`, `{"events":[{"type":"delivered"}]}`},
	} {
		for _, body := range bodies {
			if got, err := testReader().Events(provider, []byte(body)); !errors.Is(err, ErrBroken) {
				t.Errorf("%s: %s: %v, %v", provider, body, got, err)
			}
		}
	}
}

// dsn is a delivery report as mail servers write it.
func dsn(to, fields string) string {
	return strings.ReplaceAll(`Return-Path: <>
From: MAILER-DAEMON@mx.example.org
To: `+to+`
Subject: Undelivered Mail Returned to Sender
Date: Wed, 01 Jul 2026 12:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

This is a MIME message.

--b
Content-Type: text/plain

I'm sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

`+fields+`
--b
Content-Type: text/rfc822-headers

Subject: hello

--b--
`, "\n", "\r\n")
}

const failed = `Final-Recipient: rfc822; Ann@Example.org
Original-Recipient: rfc822;ann@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1
 <ann@example.org>: no such user
`

func TestMessage(t *testing.T) {
	r := testReader()
	path := r.Returns.Of(testID)
	const ours = "bounced true/bounce <> job=true 550 smtp; 550 5.1.1 <ann@example.org>: no such user"
	for name, c := range map[string]struct {
		rcpt, raw string
		want      []string
	}{
		"to its return path":       {"", dsn("<"+path+">", failed), []string{ours}},
		"by its envelope":          {path, dsn("postmaster@example.com", failed), []string{ours}},
		"in upper case":            {strings.ToUpper(path), dsn("x@example.com", failed), []string{ours}},
		"to nobody that we know":   {"", dsn("postmaster@example.com", failed), []string{"bounced true/ <ann@example.org> job=false 550 smtp; 550 5.1.1 <ann@example.org>: no such user"}},
		"to a forged path":         {strings.Replace(path, "0001.", "0002.", 1), dsn("x@example.com", failed), []string{"bounced true/ <ann@example.org> job=false 550 smtp; 550 5.1.1 <ann@example.org>: no such user"}},
		"a full mailbox":           {path, dsn("x", strings.ReplaceAll(failed, "5.1.1", "5.2.2")), []string{"bounced true/ <> job=true 550 smtp; 550 5.2.2 <ann@example.org>: no such user"}},
		"given up after 4xx":       {path, dsn("x", "Final-Recipient: rfc822; a@example.org\nAction: failed\nStatus: 4.4.1\n"), []string{"bounced false/ <> job=true 0 4.4.1"}},
		"delivered":                {path, dsn("x", "Final-Recipient: rfc822; a@example.org\nAction: delivered\nStatus: 2.0.0\n"), []string{"delivered false/ <> job=true 0 2.0.0"}},
		"delayed":                  {path, dsn("x", "Final-Recipient: rfc822; a@example.org\nAction: delayed\nStatus: 4.4.1\n"), nil},
		"of two, ours has one":     {path, dsn("x", failed+"\n"+failed), []string{ours}},
		"cut off":                  {path, strings.TrimSuffix(strings.Split(dsn("x", failed), "text/rfc822-headers")[0], "Content-Type: "), []string{ours}},
		"cut off in the report":    {path, strings.Split(dsn("x", failed), "Diagnostic-Code")[0], []string{"bounced true/bounce <> job=true 0 5.1.1"}},
		"no report":                {path, "From: a@example.org\r\nSubject: out of office\r\n\r\nhello", nil},
		"no mail":                  {path, "hello", nil},
		"nothing":                  {path, "", nil},
		"a report without a part":  {path, "Content-Type: multipart/report; boundary=b\r\n\r\n--b--\r\n", nil},
		"a report without a bound": {path, "Content-Type: multipart/report\r\n\r\nx", nil},
		"a complaint": {"", strings.ReplaceAll("Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\n"+
			"Feedback-Type: abuse\nVersion: 1\nOriginal-Mail-From: <"+path+">\nOriginal-Rcpt-To: <a@example.org>\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\nx\n--b--\n", "\n", "\r\n"),
			[]string{"complained false/complaint <> job=true 0 abuse"}},
		"a complaint about a mail whose path is lost": {"", strings.ReplaceAll("Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/feedback-report\nContent-Transfer-Encoding: base64\n\n"+
			"RmVlZGJhY2stVHlwZTogYWJ1c2UNCk9yaWdpbmFsLVJjcHQtVG86IDxhQGV4YW1wbGUub3JnPg0K\n\n--b--\n", "\n", "\r\n"),
			[]string{"complained false/ <a@example.org> job=false 0 abuse"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.Message(c.rcpt, []byte(c.raw))
			if !reflect.DeepEqual(inShort(got), c.want) {
				t.Errorf("read\n%s\nwant\n%s", strings.Join(inShort(got), "\n"), strings.Join(c.want, "\n"))
			}
			if again := r.Message(c.rcpt, []byte(c.raw)); !reflect.DeepEqual(again, got) {
				t.Error("the second time it is read otherwise")
			}
		})
	}
	if got := (Reader{}).Message(path, []byte(dsn(path, failed))); len(got) != 1 || got[0].Suppress != "" || got[0].Job != "" {
		t.Errorf("without return paths it is believed: %q", inShort(got))
	}
}

// FuzzMessage: whatever comes back, what is read can be written down, and without
// a return path that was signed here it concerns no job and suppresses nobody.
func FuzzMessage(f *testing.F) {
	r := testReader()
	f.Add("", []byte(dsn("x@example.com", failed)))
	f.Add("x@example.com", []byte("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\r\n--b--"))
	f.Add("<>", []byte("Content-Type: multipart/report; boundary=\"\"\r\n\r\n"))
	f.Fuzz(func(t *testing.T, rcpt string, raw []byte) {
		for _, got := range r.Message(rcpt, raw) {
			if got.Event == "" || len(got.Event) > maxEvent || len(got.Message) > mail.MaxNote || got.Kind == "" {
				t.Errorf("it is %+v", got)
			}
			if got.Job != "" || got.Suppress != "" {
				t.Errorf("it is believed: %+v", got)
			}
		}
	})
}
