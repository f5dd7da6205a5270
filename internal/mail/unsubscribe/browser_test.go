package unsubscribe

import (
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/testkit/browser"
)

// TestInBrowser does what a person does who follows a mail's link: looks, thinks
// better of it, clicks, clicks once more, takes it back.
func TestInBrowser(t *testing.T) {
	r := newRig(t)
	srv := httptest.NewServer(r.handler)
	t.Cleanup(srv.Close)
	link := srv.URL + r.link()
	b := browser.Open(t)
	b.Expect("favicon.ico") // there is none
	b.Expect("404")         // of the link that is not valid
	heading := func(want string) {
		t.Helper()
		if got := browser.Ask(b, chromedp.Text(chromedp.CSS("h1"))); got != want {
			t.Errorf("the page says %q, want %q", got, want)
		}
	}
	shots := func(name string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			b.Do(browser.Scheme(scheme), chromedp.EmulateViewport(360, 640, chromedp.EmulateMobile))
			b.Fits(name, 360)
			b.Shot(name + "-phone-" + scheme)
			b.Do(chromedp.EmulateViewport(1000, 640))
			b.Shot(name + "-" + scheme)
		}
	}
	button := func(says string) chromedp.Action[chromedp.Void] {
		return chromedp.Click(chromedp.Search("//button[normalize-space()='" + says + "']"))
	}

	b.Do(chromedp.Navigate(link), chromedp.WaitVisible(chromedp.CSS("button")))
	heading("Unsubscribe?")
	shots("ask")
	b.Do(chromedp.Reload())
	if got := r.suppressed(); len(got) != 0 {
		t.Fatalf("to look unsubscribes: %+v", got)
	}

	b.Do(button("Unsubscribe"), chromedp.WaitReady(chromedp.CSS("input[name=undo]")))
	heading("You are unsubscribed")
	if got := r.suppressed(); len(got) != 1 || got[0].Category != "news" {
		t.Errorf("after the click the list has %+v", got)
	}
	shots("done")
	b.Do(chromedp.Evaluate[chromedp.Void](`document.querySelector("input[name=undo]").remove(); document.querySelector("form").submit()`))
	b.Do(chromedp.WaitVisible(chromedp.Search("//h1[text()='You are unsubscribed already']")))
	if got := r.suppressed(); len(got) != 1 {
		t.Errorf("after a second click the list has %+v", got)
	}
	shots("already")

	b.Do(button("Subscribe again"), chromedp.WaitVisible(chromedp.Search("//button[normalize-space()='Unsubscribe']")))
	heading("Unsubscribe?")
	if got := r.suppressed(); len(got) != 0 {
		t.Errorf("taken back, the list has %+v", got)
	}

	b.Do(chromedp.Navigate(link+"x"), chromedp.WaitVisible(chromedp.CSS("h1")))
	heading("This link is not valid")
	shots("unknown")
	if n := browser.Ask(b, chromedp.Evaluate[int](`document.querySelectorAll("button").length`)); n != 0 {
		t.Errorf("it has %d buttons", n)
	}
}
