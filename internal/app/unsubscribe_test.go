package app

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"net/http"
	netmail "net/mail"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

// TestOneClick takes the link to unsubscribe from a mail that a process has sent,
// and does with it what a link scanner, a mail program (RFC 8058) and a person do.
func TestOneClick(t *testing.T) {
	srv := testkit.NewSMTP(t)
	const public = "https://post.example.com"
	a := boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir(), "SMTP_URL="+srv.URL(), "MAIL_FROM=shop@example.com",
		"POSTRIDER_PUBLIC_URL="+public, "POSTRIDER_SECRET=0123456789abcdef0123456789abcdef")
	const mail = `{"to":["Ann <ann@example.org>"],"template":"welcome","category":"%","data":{"name":"Ann","product":"Example","url":"https://example.com/confirm"}}`
	of := func(category string) string { return strings.Replace(mail, "%", category, 1) }

	sent := post(t, a.Addr(), "/jobs/send-email", of("news"))
	testkit.WaitFor(t, patienceInTests, "the mail", func() bool { return len(srv.Mails()) == 1 })
	data := srv.Mails()[0].Data
	read, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	link := strings.Trim(read.Header.Get("List-Unsubscribe"), "<>")
	path, ours := strings.CutPrefix(link, public+"/unsubscribe/")
	if !ours || read.Header.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" {
		t.Fatalf("the headers are %v", read.Header)
	}
	words, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{"Unsubscribe from these mails: " + link, `<a href="` + link + `"`} {
		if !bytes.Contains(words, []byte(shown)) {
			t.Errorf("the mail lacks %q:\n%s", shown, words)
		}
	}

	ask := func(method, body string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+a.Addr()+"/unsubscribe/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s is answered with %s", method, res.Status)
		}
	}
	ask(http.MethodGet, "")
	post(t, a.Addr(), "/jobs/send-email", of("news"))
	testkit.WaitFor(t, patienceInTests, "a mail after the link was looked at", func() bool { return len(srv.Mails()) == 2 })

	ask(http.MethodPost, "List-Unsubscribe=One-Click")
	if got := post(t, a.Addr(), "/jobs/send-email", of("news")); got.State != "suppressed" {
		t.Errorf("after the click, a mail is %s", got.State)
	}
	var job struct {
		Events []struct{ Kind string }
	}
	get(t, a.Addr(), "/jobs/"+sent.ID, &job)
	if last := job.Events[len(job.Events)-1]; last.Kind != "unsubscribed" {
		t.Errorf("the history of the mail that brought the link ends with %q", last.Kind)
	}

	// What is essential goes out all the same, and has no link.
	post(t, a.Addr(), "/jobs/send-email", of("security"))
	testkit.WaitFor(t, patienceInTests, "a mail that is essential", func() bool { return len(srv.Mails()) == 3 })
	if got := srv.Mails()[2].Data; bytes.Contains(bytes.ToLower(got), []byte("unsubscribe")) {
		t.Errorf("an essential mail speaks of it:\n%s", got)
	}
}

// TestTemplatesSubjectIsFound: a mail of a template is found by the subject that
// the template made.
func TestTemplatesSubjectIsFound(t *testing.T) {
	a := boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir())
	post(t, a.Addr(), "/jobs/send-email", `{"to":["ann@example.org"],"template":"receipt","data":{"product":"Example","number":"7","date":"3 March","total":"12 EUR","items":[{"what":"Tea","amount":"12 EUR"}]}}`)
	for _, query := range []string{"your receipt from", "subject:x"} {
		res, err := http.Get("http://" + a.Addr() + "/admin/deliveries?q=" + strings.ReplaceAll(query, " ", "+"))
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", res.Status, err)
		}
		if found := bytes.Contains(page, []byte("Your receipt from Example: 12 EUR")); found != (query == "your receipt from") {
			t.Errorf("a search for %q finds it: %v\n%s", query, found, page)
		}
	}
}
