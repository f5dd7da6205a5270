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
		"ses, somebody has called it no spam": {"ses", sns(`{"notificationType":"Complaint","mail":{},"complaint":{"complainedRecipients":[{"emailAddress":"a@example.com"}],"complaintFeedbackType":"not-spam"}}`), nil},
		"ses, not tried after a complaint": {"ses", sns(`{"eventType":"Complaint","mail":{},"complaint":{"complainedRecipients":[{"emailAddress":"a@example.com"}],"complaintSubType":"OnAccountSuppressionList"}}`),
			[]string{"bounced true/complaint <a@example.com> job=false 0 OnAccountSuppressionList"}},
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
		"postmark, an absence note": {"postmark", `{"RecordType":"Bounce","Type":"AutoResponder","Email":"a@example.com"}`, nil},
		"postmark, a complaint among bounces": {"postmark", `{"RecordType":"Bounce","Type":"SpamComplaint","Email":"a@example.com","Inactive":true}`,
			[]string{"complained false/complaint <a@example.com> job=false 0 "}},
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
