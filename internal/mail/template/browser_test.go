package template

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/testkit/browser"
)

// TestBuiltinInBrowser shows the built-in templates as mail programs do, on a
// phone and in a reading pane, and keeps pictures of them.
func TestBuiltinInBrowser(t *testing.T) {
	l, _, _ := openLibrary(t, "")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tm, err := l.Find(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		data := strings.ReplaceAll(string(tm.Example()), "https://example.com/", "https://example.com/"+r.URL.Query().Get("long"))
		_, m, err := tm.Render(r.Context(), "", []byte(data), ExampleUnsubscribeURL)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, m.HTML)
	}))
	t.Cleanup(srv.Close)
	b := browser.Open(t)
	b.Expect("404") // for the icon
	for _, tm := range l.List() {
		b.Do(chromedp.Navigate(srv.URL+"/"+tm.Name), chromedp.WaitVisible(chromedp.CSS("h1")))
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{390, 700} {
				b.Do(browser.Scheme(scheme), chromedp.EmulateViewport(width, 700))
				b.Fits(tm.Name, int(width))
				b.Shot(fmt.Sprintf("%s-%s-%d", tm.Name, scheme, width))
			}
		}
		// A link that has no place to break, such as one with a token.
		b.Do(chromedp.EmulateViewport(390, 700), chromedp.Navigate(srv.URL+"/"+tm.Name+"?long="+strings.Repeat("x", 300)), chromedp.WaitVisible(chromedp.CSS("h1")))
		b.Fits(tm.Name+" with a long link", 390)
		b.Shot(tm.Name + "-long-390")
	}
}
