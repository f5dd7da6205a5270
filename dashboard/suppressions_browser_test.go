package dashboard

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// TestSuppressionsInBrowser does with the list what operators do, as one.
func TestSuppressionsInBrowser(t *testing.T) {
	m := newMailRig(t)
	failed := m.put("gone@example.com", "Hello", "news", 0)
	m.suppress(mail.Suppression{Address: "gone@example.com", Reason: mail.Bounce, Note: "message: smtp; 550 5.1.1 <gone@example.com> User unknown in virtual mailbox table", Job: string(failed)})
	m.suppress(mail.Suppression{Address: "a-person-with-a-rather-long-name@subdomain.of-a-long-domain.example.com", Category: "newsletter", Reason: mail.Unsubscribe})
	m.suppress(mail.Suppression{Address: "angry@example.com", Reason: mail.Complaint, Note: "ses: abuse"})
	b := openTab(t)
	b.login(m.rig, "ann")

	// From the navigation, add one, by the keyboard alone.
	b.Do(
		chromedp.Click(chromedp.CSS(`nav a[href="/admin/suppressions"]`)),
		chromedp.WaitVisible(chromedp.CSS(`table.list`)),
	)
	b.shots("suppressions")
	b.Do(
		chromedp.Focus(chromedp.CSS(`.tools details:first-child summary`)),
		chromedp.KeyEvent(" "),
		chromedp.WaitVisible(chromedp.CSS(`form[action$="/add"] input[name=address]`)),
	)
	b.shots("suppressions-add")
	b.Do(
		chromedp.SendKeys(chromedp.CSS(`form[action$="/add"] input[name=address]`), "New@Example.com\tnews\t\tby phone\r"),
		chromedp.WaitVisible(chromedp.CSS(`.notice[role=status]`)),
	)
	if got := m.listed()[0]; got != "new@example.com|news|manual|by phone|dashboard:ann" {
		t.Errorf("added is %s", got)
	}

	// Search it, by the address and then by the reason.
	b.Do(
		chromedp.SendKeys(chromedp.CSS(`input[name=q]`), "gone@example.com\r"),
		chromedp.WaitNotPresent(`//td//span[text()="angry@example.com"]`),
		chromedp.WaitVisible(`//td//span[text()="gone@example.com"]`),
		chromedp.Navigate(m.url+suppressionRoot),
		chromedp.Click(chromedp.CSS(`nav.states a[href$="reason=complaint"]`)),
		chromedp.WaitNotPresent(`//td//span[text()="gone@example.com"]`),
		chromedp.WaitVisible(`//td//span[text()="angry@example.com"]`),
	)

	// Import a list: first a bad one, then a good one.
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	choose := func(path string) {
		t.Helper()
		b.Do(
			chromedp.Navigate(m.url+suppressionRoot),
			chromedp.Click(chromedp.CSS(`.tools details:last-child summary`)),
			chromedp.WaitVisible(chromedp.CSS(`input[type=file]`)),
			chromedp.SetUploadFiles(chromedp.CSS(`input[type=file]`), []string{path}),
			chromedp.Click(chromedp.CSS(`form[action$="/preview"] button`)),
			chromedp.WaitVisible(chromedp.CSS(`#new`)),
		)
	}
	b.Expect("422 (Unprocessable") // so the page with the bad lines is answered
	choose(file("bad.csv", "address,reason\ngood@example.com,manual\nnobody,manual\nx@example.com,boredom\n"))
	if got := browser.Ask(b.Tab, chromedp.Text(chromedp.CSS("ul.bad"))); !strings.Contains(got, "line 3") || !strings.Contains(got, "line 4") {
		t.Errorf("the bad lines are %q", got)
	}
	b.shots("suppressions-bad")
	choose(file("good.csv", "address,reason,category\none@example.com,unsubscribe,news\ntwo@example.com,manual,\ngone@example.com,bounce,\n"))
	if got := browser.Ask(b.Tab, chromedp.Text(chromedp.CSS("#new"))); got != "2" {
		t.Errorf("new are %s", got)
	}
	b.shots("suppressions-import")
	b.Do(
		chromedp.Click(chromedp.CSS(`form[action$="/import"] button`)),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "Imported: 3")]`),
	)
	if n := len(m.listed()); n != 6 {
		t.Errorf("%d entries are there", n)
	}

	// Export it.
	type answer struct {
		Status int
		Text   string
	}
	got := browser.Ask(b.Tab, chromedp.Evaluate[answer](`fetch(document.querySelector("a[download]").href).then(async r => ({Status: r.status, Text: await r.text()}))`, chromedp.EvalAwaitPromise))
	if got.Status != http.StatusOK || strings.Count(got.Text, "\n") != 7 || !strings.Contains(got.Text, "two@example.com,,manual") {
		t.Errorf("the file is %+v", got)
	}

	// Remove one, then those that are marked.
	b.Do(
		chromedp.Click(chromedp.CSS(`button[aria-label="Remove gone@example.com, all mail, bounce"]`)),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "Removed: 1")]`),
		chromedp.Click(`//label[.//span[text()="one@example.com"]]`),
		chromedp.Click(`//label[.//span[text()="two@example.com"]]`),
		chromedp.Click(`//button[text()="Remove those marked"]`),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "Removed: 2")]`),
	)
	if got := strings.Join(m.listed(), "\n"); strings.Contains(got, "one@") || strings.Contains(got, "two@") || strings.Contains(got, "gone@") || len(m.listed()) != 3 {
		t.Errorf("left are\n%s", got)
	}

	// Every control has a name.
	if nameless := browser.Ask(b.Tab, chromedp.Evaluate[string](nameless)); nameless != "" {
		t.Errorf("without a name are %s", nameless)
	}

	// And the way there from a mail.
	b.Do(
		chromedp.Navigate(m.url+deliveryPath(failed)),
		chromedp.Click(chromedp.CSS(`a[href="/admin/suppressions?q=gone%40example.com"]`)),
		chromedp.WaitVisible(chromedp.CSS(`p.empty`)),
	)
}

// nameless lists the controls of a page that a screen reader could not name.
const nameless = `Array.from(document.querySelectorAll("button, input:not([type=hidden]), select, a, summary"))
	.filter(e => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels && e.labels.length && e.labels[0].textContent.trim() || e.querySelector("img[alt]")))
	.map(e => e.outerHTML).join("\n")`

// TestSuppressionsViewerInBrowser: who may only look sees no address.
func TestSuppressionsViewerInBrowser(t *testing.T) {
	m := newMailRig(t)
	m.suppress(mail.Suppression{Address: "gone@example.com", Reason: mail.Bounce, Note: "550 5.1.1 <gone@example.com> unknown"})
	b := openTab(t)
	b.enter(m.rig, "bob")
	b.Do(chromedp.Navigate(m.url+suppressionRoot), chromedp.WaitVisible(chromedp.CSS(`table.list`)))
	page := browser.Ask(b.Tab, chromedp.Evaluate[string](`document.documentElement.outerHTML`))
	if strings.Contains(page, "gone@") || !strings.Contains(page, "g***@example.com") || strings.Contains(page, "checkbox") {
		t.Errorf("a viewer sees %s", page)
	}
	b.shots("suppressions-viewer")
	b.Expect("403 (Forbidden)")
	for _, do := range []string{`fetch("/admin/suppressions.csv")`, `fetch("/admin/suppressions/remove", {method: "POST"})`, `fetch("/admin/suppressions/add", {method: "POST"})`} {
		if status := browser.Ask(b.Tab, chromedp.Evaluate[int](do+`.then(r => r.status)`, chromedp.EvalAwaitPromise)); status != http.StatusForbidden {
			t.Errorf("%s is answered %d", do, status)
		}
	}
}
