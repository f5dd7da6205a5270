package recipient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is a store with digests that are due, and what became of them.
type box struct {
	Store
	prefs    map[string]Preferences
	due      []Gathered
	contents Contents
	without  []string
	closed   map[string]*job.New
	away     atomic.Bool
}

var errAway = errors.New("away")

func (b *box) OfIDs(context.Context, []string) (map[string]Preferences, error) { return b.prefs, nil }

func (b *box) Due(context.Context, int) ([]Gathered, error) {
	if b.away.Load() {
		return nil, errAway
	}
	return b.due, nil
}

func (b *box) Items(_ context.Context, _ Gathered, without []string, _ int) (Contents, error) {
	b.without = without
	return b.contents, nil
}

func (b *box) Close(_ context.Context, g Gathered, mail *job.New) (time.Time, bool, error) {
	b.closed[g.Recipient] = mail
	b.due = nil
	return time.Now(), true, nil
}

// post prepares mails, and counts those that are on their way.
type post struct {
	payload    string
	dispatched int
	err        error
	refuse     string // mails in which this stands
}

func (p *post) Prepare(_ context.Context, sub job.Submission, _ string) (job.New, error) {
	p.payload = string(sub.Payload)
	if p.refuse != "" && strings.Contains(p.payload, p.refuse) {
		return job.New{}, job.Errorf(job.CodeInvalid, "no")
	}
	return job.New{ID: job.NewID()}, p.err
}

func (p *post) Dispatch(jobs []job.New, _ time.Time) { p.dispatched += len(jobs) }

func newBox(items int) *box {
	b := &box{closed: map[string]*job.New{}, due: []Gathered{{Recipient: "ann", Address: "old@example.com", Items: items}}}
	b.contents.Total = items
	for i := range min(items, maxShown) {
		b.contents.Items = append(b.contents.Items, Item{Title: fmt.Sprintf("<Title> %d.", i), Text: "Text & more"})
	}
	return b
}

func digestsOver(b *box, p *post) *Digests {
	return NewDigests(DigestOptions{Store: b, Jobs: p, Product: "Example", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
}

// A digest shows what its recipient still wants, and goes to where they are now.
func TestDigestMail(t *testing.T) {
	b, p := newBox(60), &post{}
	b.prefs = map[string]Preferences{"ann": {Address: "new@example.com", Settings: Settings{Categories: map[string]Choice{"offers": Off, "news": Digest}}}}
	if err := digestsOver(b, p).Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.closed["ann"] == nil || p.dispatched != 1 || len(b.without) != 1 || b.without[0] != "offers" {
		t.Errorf("closed are %v without %q, on their way %d", b.closed, b.without, p.dispatched)
	}
	e, err := tasks.EmailSend.Decode([]byte(p.payload))
	if err != nil {
		t.Fatal(err)
	}
	if e.Rcpt != "new@example.com" || e.Category != DigestCategory || e.Template != digestTemplate {
		t.Errorf("the mail is %+v", e)
	}
	for _, want := range []string{`"product":"Example"`, `{"title":"\u003cTitle\u003e 49.","text":"Text \u0026 more"},{"title":"and 10 more"}`} {
		if !strings.Contains(string(e.Data), want) {
			t.Errorf("%q is not in\n%s", want, e.Data)
		}
	}
}

// Where the template refuses it, a digest goes out without one.
func TestDigestWithoutItsTemplate(t *testing.T) {
	b, p := newBox(60), &post{refuse: digestTemplate}
	if err := digestsOver(b, p).Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.closed["ann"] == nil || p.dispatched != 1 {
		t.Errorf("closed are %v, on their way %d", b.closed, p.dispatched)
	}
	e, err := tasks.EmailSend.Decode([]byte(p.payload))
	if err != nil {
		t.Fatal(err)
	}
	if e.Rcpt != "old@example.com" || e.Category != DigestCategory || e.Subject != "Your digest: 60 messages" {
		t.Errorf("the mail is %+v", e)
	}
	for part, want := range map[string]string{e.Text: "* <Title> 49.\n  Text & more\n\nand 10 more.", e.HTML: "<strong>&lt;Title&gt; 49.</strong><br>Text &amp; more"} {
		if !strings.Contains(part, want) {
			t.Errorf("%q is not in\n%s", want, part)
		}
	}
}

// With nothing left that is wanted, or where no mail can be made, a digest is
// closed without one; after an error that may pass it stays due.
func TestDigestWithoutMail(t *testing.T) {
	for name, test := range map[string]struct {
		items  int
		err    error
		closed bool
	}{
		"nothing left": {0, nil, true},
		"refused":      {1, job.Errorf(job.CodeInvalid, "no"), true},
		"away":         {1, job.Errorf(job.CodeTemporary, "away"), false},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := newBox(test.items), &post{err: test.err}
			err := digestsOver(b, p).Turn(t.Context())
			mail, closed := b.closed["ann"]
			if closed != test.closed || mail != nil || p.dispatched != 0 || (err == nil) != closed {
				t.Errorf("closed is %v with %v, %v", closed, mail, err)
			}
		})
	}
}

// What is due is sent each 5 seconds, also after the database was away.
func TestDigestsKeepOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p := newBox(1), &post{}
		d := digestsOver(b, p)
		b.away.Store(true)
		d.Start()
		synctest.Wait()
		b.away.Store(false)
		time.Sleep(turnEvery + time.Millisecond)
		synctest.Wait()
		if p.dispatched != 1 {
			t.Errorf("on their way are %d", p.dispatched)
		}
		d.Stop()
		d.Stop()
	})
}
