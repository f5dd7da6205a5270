// Package browser drives a Chromium in tests of pages that people read.
package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const (
	// lifetime bounds all that a test does with a tab.
	lifetime = 90 * time.Second
	// patience bounds one call of Do.
	patience = 30 * time.Second
)

// Tab is a tab of a browser of its own, for one test. What it writes to its
// console as an error, a broken policy above all, fails the test unless expected.
type Tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	expected []string
}

// Open starts a browser, which ends with the test.
func Open(t *testing.T) *Tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs the program chromium: run `make test-deps`, or install Debian's package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	ctx, cancelAllocator := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		cancelBrowser()
		cancelAllocator()
	})
	if err := chromedp.Do(ctx); err != nil { // starts the browser, which lives as long as its context
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, lifetime)
	b := &Tab{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.IsException() {
				b.complain(m.Text)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		reader.Wait()
	})
	return b
}

// Expect lets errors that contain the text pass from now on.
func (b *Tab) Expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

func (b *Tab) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.expected {
		if strings.Contains(text, e) {
			return
		}
	}
	b.t.Errorf("the console says: %s", text)
}

// Do takes the steps. When one of them fails there is a picture of the page.
func (b *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		if png, shotErr := chromedp.Run(b.ctx, chromedp.CaptureScreenshot()); shotErr == nil {
			b.keep("failed", png)
		}
		b.t.Fatal(err)
	}
}

// Ask does what has an answer.
func Ask[T any](b *Tab, action chromedp.Action[T]) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// Shot keeps a picture of the whole page where `go test -artifacts` puts such
// things.
func (b *Tab) Shot(name string) {
	b.t.Helper()
	b.keep(name, Ask(b, chromedp.FullScreenshot(100)))
}

func (b *Tab) keep(name string, png []byte) {
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), png, 0o600); err != nil {
		b.t.Error(err)
	}
}

// Fits fails the test where the page is wider than so many CSS pixels: on a
// phone the window grows with a page that does not fit.
func (b *Tab) Fits(name string, width int) {
	b.t.Helper()
	if got := Ask(b, chromedp.Evaluate[int](`document.documentElement.scrollWidth`)); got > width {
		b.t.Errorf("%s is %d pixels wide, and the window %d", name, got, width)
	}
}

// Scheme has pages shown as those want who prefer "light" or "dark".
func Scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}
