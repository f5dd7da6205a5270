package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

var errKilled = fmt.Errorf("the process was killed: %w", io.ErrUnexpectedEOF)

// killer ends what it watches at one of the points of its transactions: before
// one, before its commit, or after it and before anybody has heard.
type killer struct {
	points atomic.Int64 // until then; negative for never
	end    atomic.Pointer[context.CancelFunc]
}

func (k *killer) fault(op, _ string) error {
	if op != "close_digest" || k.points.Add(-1) != 0 {
		return nil
	}
	(*k.end.Load())()
	return errKilled
}

// turn is one of d's, in a process that dies after so many points.
func (k *killer) turn(ctx context.Context, d *recipient.Digests, points int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.end.Store(&cancel)
	k.points.Store(int64(points))
	defer k.points.Store(-1)
	if err := d.Turn(ctx); ctx.Err() == nil {
		return err
	}
	return nil // it was killed
}

// digestWorld is some recipients, what is gathered for them, and two schedulers.
type digestWorld struct {
	*people
	db     *sql.DB
	killer *killer
	prefs  map[string]*recipient.Preferences
	digest []*recipient.Digests
	items  map[job.ID]string // category
}

func newDigestWorld(t *testing.T, url string) *digestWorld {
	k := &killer{}
	k.points.Store(-1)
	w := &digestWorld{people: newPeople(t, url, store.Options{Fault: k.fault}), db: raw(t, url), killer: k}
	types, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		// Not started: what it dispatches is nobody's concern here.
		jobs := job.NewService(job.Options{
			Store: w.jobs, Dispatcher: jobtest.NewDispatcher(), Types: types, Queues: []string{"email"},
			Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
		})
		w.digest = append(w.digest, recipient.NewDigests(recipient.DigestOptions{
			Store: w, Jobs: jobs, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
		}))
	}
	return w
}

// empty forgets the history before.
func (w *digestWorld) empty(t *rapid.T) {
	for _, table := range []string{"preferences", "digests", "digest_items", "jobs", "job_events"} {
		if _, err := w.db.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
	w.prefs, w.items = map[string]*recipient.Preferences{}, map[job.ID]string{}
}

// prefer gives somebody preferences, or none any more; who had some once is
// still gathered for by a worker that has read them before.
func (w *digestWorld) prefer(t *rapid.T) {
	id := rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "recipient")
	p := daily(id)
	p.TimeZone = rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York"}).Draw(t, "zone")
	p.Digest.Window = rapid.SampledFrom([]recipient.Window{recipient.Hourly, recipient.Daily, recipient.Weekly}).Draw(t, "window")
	p.Digest.At = rapid.SampledFrom([]string{"00:00", "08:00", "17:45"}).Draw(t, "at")
	p.Categories["offers"] = rapid.SampledFrom([]recipient.Choice{recipient.Digest, recipient.Off}).Draw(t, "offers")
	if rapid.Bool().Draw(t, "quiet") {
		p.QuietHours = &recipient.QuietHours{From: "22:00", To: "08:00"}
	}
	keep := rapid.IntRange(0, 4).Draw(t, "keep") > 0
	_, err := w.Change(w.t.Context(), id, func(_ *recipient.Preferences, now time.Time) (*recipient.Preferences, error) {
		if !keep {
			return nil, nil
		}
		out := p
		out.UpdatedAt = now
		return &out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.prefs[id] = &p
}

// begin claims a job for each of those whom something is gathered for.
func (w *digestWorld) begin(t *rapid.T, n int) []job.Settlement {
	var out []job.Settlement
	for _, j := range running(w.t, w.jobs, n) {
		ids := make([]string, 0, len(w.prefs))
		for id := range w.prefs {
			ids = append(ids, id)
		}
		if len(ids) == 0 {
			w.prefer(t)
			return append(out, done(j))
		}
		slices.Sort(ids)
		p := w.prefs[rapid.SampledFrom(ids).Draw(t, "for")]
		category := rapid.SampledFrom([]string{"news", "offers"}).Draw(t, "category")
		item := recipient.Decision{For: p}.Item(j.ID, category, "title "+string(j.ID)+" of it", "")
		w.items[j.ID] = category
		out = append(out, done(j, item))
	}
	return out
}

func (w *digestWorld) settle(s job.Settlement) error {
	_, err := w.jobs.Settle(w.t.Context(), s)
	return err
}

func (w *digestWorld) gatherSome(t *rapid.T) {
	for _, s := range w.begin(t, rapid.IntRange(1, 4).Draw(t, "n")) {
		if err := w.settle(s); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *digestWorld) advance(t *rapid.T) {
	w.clock.Advance(rapid.SampledFrom([]time.Duration{time.Minute, 37 * time.Minute, 3 * time.Hour, 25 * time.Hour, 8 * 24 * time.Hour}).Draw(t, "by"))
}

func (w *digestWorld) turn(t *rapid.T) {
	if err := w.digest[0].Turn(w.t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *digestWorld) turnKilled(t *rapid.T) {
	if err := w.killer.turn(w.t.Context(), w.digest[0], rapid.IntRange(1, 6).Draw(t, "points")); err != nil {
		t.Fatal(err)
	}
}

// turnTogether has both schedulers send what is due while more is gathered.
func (w *digestWorld) turnTogether(t *rapid.T) {
	late := w.begin(t, 2)
	errs := make([]error, len(w.digest)+len(late))
	each(len(errs), func(i int) {
		if i < len(w.digest) {
			errs[i] = w.digest[i].Turn(w.t.Context())
		} else {
			errs[i] = w.settle(late[i-len(w.digest)])
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// check finds every item in one window, every closed window's mail, and each
// item in the mail of its window and in no other.
func (w *digestWorld) check(t *rapid.T) {
	mails := map[string]string{} // id → text
	w.query(t, `SELECT CAST(id AS TEXT), payload FROM jobs WHERE type = 'email:send'`, func(id, payload string) { mails[id] = payload })
	windows := 0
	w.query(t, `SELECT CAST(job_id AS TEXT), recipient FROM digests WHERE job_id IS NOT NULL`, func(id, _ string) {
		if windows++; mails[id] == "" {
			t.Errorf("the mail %s of a window is not there", id)
		}
	})
	if windows != len(mails) {
		t.Errorf("%d windows have a mail, and there are %d mails", windows, len(mails))
	}
	mailOf := map[string]string{} // item → mail; "open" until its window is closed, "none" where that has none
	w.query(t, `SELECT CAST(i.job_id AS TEXT), CASE WHEN d.closed_at IS NULL THEN 'open' ELSE COALESCE(CAST(d.job_id AS TEXT), 'none') END
		FROM digest_items i JOIN digests d ON d.recipient = i.recipient AND d.ends_at = i.ends_at`,
		func(item, mail string) { mailOf[item] = mail })
	for id, category := range w.items {
		its, ok := mailOf[string(id)]
		if !ok || its == "none" && category == "news" {
			t.Errorf("the item %s of %s has the mail %q", id, category, its)
		}
		for mail, text := range mails {
			n := strings.Count(text, "title "+string(id))
			wanted := mail == its && (category == "news" || n > 0)
			if wanted && n != 1 || !wanted && n != 0 {
				t.Errorf("the item %s of %s is %d times in the mail %s, and its own is %q", id, category, n, mail, its)
			}
		}
	}
}

// query hands the rows of two texts to scan.
func (w *digestWorld) query(t *rapid.T, q string, scan func(a, b string)) {
	rows, err := w.db.Query(q)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a, b string
		if err := rows.Scan(&a, &b); err != nil {
			t.Fatal(err)
		}
		scan(a, b)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// end has everything sent that is left.
func (w *digestWorld) end(t *rapid.T) {
	w.clock.Advance(10 * 24 * time.Hour)
	w.turn(t)
	if due := w.due(); len(due) != 0 {
		t.Errorf("still due are %v", due)
	}
	w.check(t)
}

// histories sets how many a property is tried with, and how long they are,
// unless that was said on the command line.
func histories(t *testing.T, n int) {
	if os.Getenv("POSTRIDER_TEST_ALL") != "" {
		n *= 20
	}
	testkit.Rapid(t, n, 20)
}

// TestDigestProperty: of whatever is gathered, and whoever sends it, dies, and
// changes their mind in between, each item is in exactly one digest, and no
// window has two.
func TestDigestProperty(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		w := newDigestWorld(t, url)
		histories(t, 5)
		rapid.Check(t, func(t *rapid.T) {
			w.empty(t)
			w.prefer(t)
			t.Repeat(map[string]func(*rapid.T){
				"":              w.check,
				"prefer":        w.prefer,
				"gather":        w.gatherSome,
				"advance":       w.advance,
				"turn":          w.turn,
				"turn, killed":  w.turnKilled,
				"turn together": w.turnTogether,
			})
			w.end(t)
		})
	})
}
