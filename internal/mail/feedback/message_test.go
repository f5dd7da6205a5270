package feedback

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/mail"
)

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

// FuzzMessage: whatever comes back, what is read can be written down. Without a
// return path that was signed here it concerns no job and suppresses nobody; with
// one it concerns that mail's recipient and nobody else.
func FuzzMessage(f *testing.F) {
	r := testReader()
	path := r.Returns.Of(testID)
	f.Add("", []byte(dsn("x@example.com", failed)))
	f.Add("x@example.com", []byte("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\r\n--b--"))
	f.Add("<>", []byte("Content-Type: multipart/report; boundary=\"\"\r\n\r\n"))
	files, err := filepath.Glob(filepath.Join("testdata", "messages", "*.eml"))
	if err != nil || len(files) == 0 {
		f.Fatal("there are no messages", err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("", raw)
	}
	f.Fuzz(func(t *testing.T, rcpt string, raw []byte) {
		check := func(got mail.Feedback) {
			if got.Event == "" || len(got.Event) > maxEvent || len(got.Message) > mail.MaxNote || got.Kind == "" || got.Provider != "message" {
				t.Errorf("it is %+v", got)
			}
		}
		for _, got := range r.Message(rcpt, raw) {
			check(got)
			if got.Job != "" || got.Suppress != "" || got.Address == "" {
				t.Errorf("it is believed: %+v", got)
			}
		}
		ours := r.Message(path, raw)
		if len(ours) > 1 {
			t.Errorf("it tells of %d", len(ours))
		}
		for _, got := range ours {
			check(got)
			if got.Job != testID || got.Address != "" {
				t.Errorf("it concerns %+v", got)
			}
		}
	})
}

// What mail servers write: each file is the form of one of them. PATH stands for
// the return path of the mail that came back.
func TestMessageOfServers(t *testing.T) {
	r := testReader()
	path := r.Returns.Of(testID)
	for name, want := range map[string][]string{
		"postfix.eml":          {"bounced true/bounce <> job=true 550 smtp; 550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown in virtual mailbox table"},
		"exim.eml":             {"bounced true/bounce <> job=true 550 smtp; 550 5.1.1 <ann@example.org> User unknown"},
		"exchange.eml":         {"bounced true/bounce <> job=true 550 smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ann@example.org not found by SMTP address lookup"},
		"gmail.eml":            {"bounced true/bounce <> job=true 550 smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try 550-5.1.1 double-checking the recipient's email address for typos. 550 5.1.1 For more information, go to https://support.example.org/ NoSuchUser"},
		"gmail-delay.eml":      nil,
		"in-mixed.eml":         {"bounced true/bounce <> job=true 550 smtp; 550 5.1.1 gone"},
		"no-message-group.eml": {"bounced true/bounce <> job=true 550 smtp; 550 5.1.1 gone"},
		"one-group.eml":        {"bounced true/bounce <> job=true 0 5.1.1"},
		"mailbox-from.eml":     {"bounced true/bounce <> job=true 0 5.1.1"},
		"loose-boundary.eml":   {"bounced true/bounce <> job=true 0 5.1.1"},
		"broken-line.eml":      {"bounced true/ <> job=true 552 smtp; 552 5.2.2 Das Postfach ist ber voll"},
		"no-recipient.eml":     {"bounced true/bounce <> job=true 550 smtp; 550 5.1.1 gone"},
		"expanded.eml":         nil,
		"after-delay.eml":      {"bounced false/ <> job=true 0 4.4.7"},
		"read-receipt.eml":     nil,
		"forwarded.eml":        nil,
		"arf-no-original.eml":  {"complained false/complaint <> job=true 0 abuse"},
		"arf-not-spam.eml":     nil,
		"arf-dmarc.eml":        nil,
		"arf-return-path.eml":  {"complained false/complaint <> job=true 0 fraud"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", "messages", name))
			if err != nil {
				t.Fatal(err)
			}
			for _, end := range []string{"\n", "\r\n"} { // a pipe may have changed them
				text := strings.ReplaceAll(strings.ReplaceAll(string(raw), "PATH", path), "\n", end)
				if got := inShort(r.Message("", []byte(text))); !reflect.DeepEqual(got, want) {
					t.Errorf("with %q as line ends it reads\n%s\nwant\n%s", end, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		})
	}
}

// A report about many recipients concerns all of them where no mail of ours is
// named, and suppresses none; it is bounded.
func TestMessageOfManyRecipients(t *testing.T) {
	r := testReader()
	var fields strings.Builder
	for i := range 3 * maxGroups {
		fmt.Fprintf(&fields, "Final-Recipient: rfc822; u%d@example.org\nAction: failed\nStatus: 5.1.1\n\n", i)
	}
	got := r.Message("", []byte(dsn("postmaster@example.com", fields.String())))
	if len(got) != maxGroups {
		t.Fatalf("it tells of %d", len(got))
	}
	names := map[string]bool{}
	for i, f := range got {
		if f.Address != fmt.Sprintf("u%d@example.org", i) || f.Suppress != "" || f.Job != "" {
			t.Fatalf("the recipient %d is %+v", i, f)
		}
		names[f.Event] = true
	}
	if len(names) != maxGroups {
		t.Errorf("they have %d names", len(names))
	}
	if got := r.Message(r.Returns.Of(testID), []byte(dsn("x@example.com", fields.String()))); len(got) != 1 || got[0].Job != testID {
		t.Errorf("a mail of ours has %d recipients", len(got))
	}
}

// Whatever is nested, repeated or encoded, it is read in bounded steps, and what
// stands too deep is not.
func TestMessageNested(t *testing.T) {
	r := testReader()
	path := r.Returns.Of(testID)
	report := "Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; a@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"
	nested := func(depth int) string {
		text := report
		for i := range depth {
			text = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%[1]d\r\n%s\r\n--b%[1]d--\r\n", i, text)
		}
		return text
	}
	wide := "Content-Type: multipart/report; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: text/plain\r\n\r\nx\r\n", 10_000) + "--b\r\n" + report + "\r\n--b--\r\n"
	encoded := "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString([]byte("Final-Recipient: rfc822; a@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n")) + "\r\n--b--\r\n"
	folded := "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\nDiagnostic-Code: smtp;\r\n" +
		strings.Repeat(" x\r\n", 100_000) + "\r\n--b--\r\n"
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"not at all":    {report, 1},
		"as it may":     {nested(maxDepth), 1},
		"too deep":      {nested(maxDepth + 1), 0},
		"many parts":    {wide, 0},
		"in base64":     {encoded, 1},
		"folded often":  {folded, 1},
		"only a bound":  {"Content-Type: multipart/report; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n", 1000), 0},
		"empty reports": {"Content-Type: multipart/report; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: message/feedback-report\r\n\r\n\r\n", 5) + "--b--\r\n", 0},
	} {
		if got := r.Message(path, []byte(c.text)); len(got) != c.want {
			t.Errorf("%s: it tells of %d, want %d", name, len(got), c.want)
		}
	}
}
