// Package examples_test opens the examples in two browsers at once, and runs
// their own tests.
package examples_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 30 * time.Second

// serve starts a Postrider with the examples, as make run does.
func serve(t *testing.T, example string) (url string) {
	t.Helper()
	web, err := filepath.Abs("../web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(web, "examples", example, "index.html")); err != nil {
		t.Fatalf("looking for what `make examples` builds: %v", err)
	}
	program := testkit.Build(t, "github.com/postrider/postrider/cmd/postrider")
	s := testkit.NewService(t, []string{"POSTRIDER_DATA_DIR=" + t.TempDir(), "POSTRIDER_WEB_DIR=" + web}, program, "dev")
	s.Start()
	s.AwaitReady()
	return "http://" + s.Addr + "/examples/" + example + "/"
}

// person is one who looks at an example, in a browser of their own.
type person struct {
	*browser.Tab
	t    *testing.T
	name string
	url  string
}

// enter has somebody come in.
func enter(t *testing.T, url, name string) person {
	t.Helper()
	p := person{browser.Open(t), t, name, url}
	p.Do(
		chromedp.EmulateViewport(1100, 760),
		chromedp.Navigate(url),
		chromedp.SendKeys(chromedp.CSS("#name"), name+kb.Enter),
	)
	p.sees(`document.querySelector('.live') !== null`)
	return p
}

// sees waits until a JavaScript expression holds in the page.
func (p person) sees(format string, args ...any) {
	p.t.Helper()
	expression := fmt.Sprintf(format, args...)
	testkit.WaitFor(p.t, patience, p.name+" sees "+expression, func() bool {
		return browser.Ask(p.Tab, chromedp.Evaluate[bool]("Boolean("+expression+")"))
	})
}

// count waits until so many elements match.
func (p person) count(selector string, n int) {
	p.t.Helper()
	p.sees(`document.querySelectorAll(%q).length === %d`, selector, n)
}

func (p person) types(selector, text string) {
	p.t.Helper()
	p.Do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (p person) click(selector string) {
	p.t.Helper()
	p.Do(chromedp.Click(chromedp.CSS(selector)))
}

// shots keeps pictures of the page in light and dark, on a desk and a phone,
// where it must not be wider than the screen.
func (p person) shots(name string) {
	p.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		p.Do(browser.Scheme(scheme), chromedp.EmulateViewport(1100, 760))
		p.Shot(name + "-" + scheme)
		p.Do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
		p.Shot(name + "-phone-" + scheme)
		p.Fits(name, 390)
	}
	p.Do(browser.Scheme("light"), chromedp.EmulateViewport(1100, 760))
}

// TestRooms runs the tests of the chat's state.
func TestRooms(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "node", "--test", "test/")
	cmd.Dir = "chat"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the tests of examples/chat: %v\n%s", err, out)
	}
}

// Ann sends, and Ben sees it at once; what came while he was away is there when
// he is back, once.
func TestNotifications(t *testing.T) {
	t.Parallel()
	url := serve(t, "notifications")
	ann, ben := enter(t, url, "ann"), enter(t, url, "ben")
	send := func(message string) {
		ann.types("#message", message)
		ann.click("#compose > button")
		ann.sees(`document.getElementById('message').value === ''`)
	}

	ann.types("#receiver", "ben")
	send("Lunch at noon?")
	ben.count(".item.unread", 1)
	ben.sees(`document.querySelector('.toast').textContent.includes('Lunch at noon?')`)
	ben.sees(`document.getElementById('unread').textContent === '1'`)
	ben.sees(`document.querySelector('.item .about').textContent.includes('from ann')`)

	ben.Do(chromedp.Navigate("about:blank"))
	send("The blue one, then")
	ann.click("input[value=everyone]")
	send("We close early today")
	ann.count(".item.unread", 1)
	ben.Do(chromedp.Navigate(url))
	ben.count(".item.unread", 3)
	ben.sees(`document.getElementById('unread').textContent === '3'`)
	ben.shots("notifications")

	ben.click(".item:last-child .buttons button")
	ben.count(".item.unread", 2)
	ben.click("#read-all")
	ben.count(".item.unread", 0)
	ben.sees(`document.getElementById('unread').dataset.count === '0'`)
	ann.count(".item.unread", 1) // which is hers to read

	ann.click("input[value=room]")
	ann.Do(chromedp.SendKeys(chromedp.CSS("#delay"), "in 5"))
	send("Later")
	ann.sees(`document.getElementById('sent').textContent.includes('scheduled')`)
	ben.sees(`document.querySelector('.item.unread .about')?.textContent.includes('to the team')`)
}

// Ann and Ben chat: each sees the other, what the other types and says, and all
// of it again after a reload.
func TestChat(t *testing.T) {
	t.Parallel()
	url := serve(t, "chat")
	ann, ben := enter(t, url, "ann"), enter(t, url, "ben")
	for _, p := range []person{ann, ben} {
		p.count(".present .face", 2)
	}
	ann.types("#text", "Good morning")
	ben.sees(`document.querySelector('.typing').textContent === 'ann is typing …'`)
	ann.types("#text", kb.Enter)
	ben.sees(`document.querySelector('.message .text')?.textContent === 'Good morning'`)
	ben.sees(`document.querySelector('.typing').textContent === ''`)
	ann.count(".message.own:not(.pending)", 1)

	for i := range 70 { // beyond what is shown to who comes in
		ben.types("#text", fmt.Sprintf("number %d"+kb.Enter, i))
	}
	ann.count(".message", 71)
	ben.count(".message.pending", 0)
	ann.Do(chromedp.Reload())
	ann.count(".message", 50)
	ann.sees(`document.querySelector('.message:last-child .text').textContent === 'number 69'`)
	ann.click(".older")
	ann.count(".message", 71)
	ann.sees(`document.querySelector('.message .text').textContent === 'Good morning'`)

	ann.click("nav li:nth-child(2) button")
	ann.types("#text", "Only for the team"+kb.Enter)
	ben.sees(`document.querySelector('nav li:nth-child(2) .fresh')?.textContent === '1'`)
	ben.click("nav li:nth-child(2) button")
	ben.sees(`document.querySelector('.message .text')?.textContent === 'Only for the team'`)
	for _, text := range []string{"Thanks!", "See you at the station at eight, then."} {
		ben.types("#text", text)
		ben.click(".composer button")
	}
	ann.count(".message", 3)
	ann.types("#text", "Fine")
	ben.sees(`document.querySelector('.typing').textContent === 'ann is typing …'`)
	ben.shots("chat")
}
