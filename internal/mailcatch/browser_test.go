package mailcatch

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/testkit/browser"
)

func TestMailboxInBrowser(t *testing.T) {
	b := browser.Open(t)
	s, addr := start(t)
	origin := serveWeb(t, s)
	inbox := origin + "/dev/mail"

	b.Do(chromedp.EmulateViewport(1000, 700), chromedp.Navigate(inbox), chromedp.WaitVisible(chromedp.CSS(".empty")))
	b.Shot("empty")

	// A mail that arrives while the page is open appears without a reload.
	browser.Ask(b, chromedp.Evaluate[bool](`window.sameDocument = true`))
	put(t, addr, "user@example.org", simple("Welcome to the shop"))
	put(t, addr, "user@example.org", rich)
	b.Do(chromedp.WaitVisible(chromedp.CSS(".mails li:nth-child(2)")))
	if got := browser.Ask(b, chromedp.Text(chromedp.CSS(".mails li:nth-child(2) .subject"))); got != "Welcome to the shop" {
		t.Errorf("subject %q", got)
	}
	if !browser.Ask(b, chromedp.Evaluate[bool](`window.sameDocument === true`)) {
		t.Error("the page was reloaded")
	}
	b.Shot("list")
	b.Do(chromedp.EmulateViewport(390, 700, chromedp.EmulateMobile))
	b.Shot("list-phone")

	b.Do(chromedp.Click(chromedp.CSS(".mails li:nth-child(1) a")), chromedp.WaitVisible(chromedp.CSS("iframe")))
	if got := browser.Ask(b, chromedp.Title()); !strings.HasPrefix(got, "A very long subject") {
		t.Errorf("title %q", got)
	}
	b.Fits("the mail", 390)
	b.Shot("mail-phone")
	b.Do(chromedp.EmulateViewport(1000, 900))
	b.Shot("mail")

	b.Do(
		chromedp.Navigate(inbox),
		chromedp.Click(chromedp.CSS("#clear")),
		chromedp.WaitVisible(chromedp.CSS(".empty")),
		chromedp.WaitNotVisible(chromedp.CSS("#clear")),
	)
	if mails, _ := s.box.list(""); len(mails) != 0 {
		t.Error("the mails are still there")
	}
}

var rich = "From: Shop <shop@example.com>\nTo: Jane Doe <user@example.org>\nSubject: " + strings.Repeat("A very long subject ", 12) + `
Message-ID: <01hzy@example.com>
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain

Plain words
--a
Content-Type: text/html

<h1>Rich words</h1><p style="color:#a00">in red</p>
--a--
--m
Content-Type: application/pdf
Content-Disposition: attachment; filename=invoice.pdf

%PDF
--m--
`

// TestHostileMailInBrowser: a mail tries everything to reach out of its frame.
func TestHostileMailInBrowser(t *testing.T) {
	b := browser.Open(t)
	b.Expect("") // it breaks every policy that there is
	s, addr := start(t)
	var reached atomic.Value
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.CompareAndSwap(nil, r.URL.Path)
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}))
	t.Cleanup(outside.Close)
	origin := serveWeb(t, s)
	probe := func(path string) string { return outside.URL + "/" + path }
	put(t, addr, "user@example.org", strings.Join([]string{
		"From: evil@example.com", "Subject: harmless", "Content-Type: text/html", "",
		`<meta http-equiv="refresh" content="0; url=` + probe("refresh") + `">`,
		`<link rel="stylesheet" href="` + probe("style") + `">`,
		`<link rel="prefetch" href="` + probe("prefetch") + `"><link rel="dns-prefetch" href="` + probe("dns") + `">`,
		`<script>parent.document.title = "owned"; fetch("` + probe("fetch") + `"); fetch("/dev/mail/messages", {method: "DELETE"})</script>`,
		`<script src="` + probe("script") + `"></script>`,
		`<img src="` + probe("image") + `"><img src="x" onerror="top.document.title = 'owned'">`,
		`<svg onload="top.document.title = 'owned'"><style>@import url("` + probe("import") + `")</style></svg>`,
		`<iframe src="` + probe("frame") + `"></iframe><iframe srcdoc="<script>top.document.title='owned'</script>"></iframe>`,
		`<object data="` + probe("object") + `"></object><video src="` + probe("video") + `" autoplay></video>`,
		`<form action="` + probe("form") + `" target="_top"><button id="send" autofocus>x</button></form>`,
		`<a id="out" href="javascript:top.document.title='owned'">x</a>`,
		`<body background="` + probe("background") + `" style="background:url(` + probe("css") + `)">`,
		`<p id="shown">the mail is shown</p>`, "",
	}, "\n"))

	b.Do(chromedp.Navigate(origin+"/dev/mail/1"), chromedp.WaitVisible(chromedp.CSS("iframe")))
	// A sandboxed frame has an origin of its own: the page cannot look in, so
	// neither can the frame look out.
	if !browser.Ask(b, chromedp.Evaluate[bool](`document.querySelector("iframe").contentDocument === null`)) {
		t.Error("the frame shares the page's origin")
	}
	if got := browser.Ask(b, chromedp.Title()); got != "harmless" {
		t.Errorf("title %q", got)
	}
	b.Shot("hostile")

	// The same with the HTML alone in the tab, where only the header guards.
	b.Do(chromedp.Navigate(origin + "/dev/mail/1/html"))
	if got := browser.Ask(b, chromedp.Text(chromedp.CSS("#shown"))); got != "the mail is shown" {
		t.Errorf("the mail reads %q", got)
	}
	b.Do(chromedp.Click(chromedp.CSS("#send")), chromedp.Click(chromedp.CSS("#out")))
	if got := browser.Ask(b, chromedp.Title()); got == "owned" {
		t.Error("a script ran")
	}
	if got := browser.Ask(b, chromedp.Location()); got != origin+"/dev/mail/1/html" {
		t.Errorf("the tab was led to %s", got)
	}
	if mails, _ := s.box.list(""); len(mails) != 1 {
		t.Error("the mail deleted the mails")
	}
	if path := reached.Load(); path != nil {
		t.Errorf("the mail reached out: %v", path)
	}
}
