package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// people is a store's side of recipients with the clock of the test, empty.
type people struct {
	recipient.Store
	t     *testing.T
	jobs  *store.Store
	clock *jobtest.ManualClock
}

func newPeople(t *testing.T, url string, o store.Options) *people {
	t.Helper()
	clock := jobtest.NewClock()
	o.Clock = clock.Now
	s := open(t, url, o)
	db := raw(t, url)
	for _, table := range []string{"preferences", "digests", "digest_items", "jobs", "job_events"} {
		if _, err := db.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
	return &people{s.Recipients(), t, s, clock}
}

// daily are the preferences of somebody who has news gathered until the next
// midnight of UTC.
func daily(id string) recipient.Preferences {
	return recipient.Preferences{
		ID: id, Address: id + "@example.org", Version: 1,
		Settings: recipient.Settings{
			TimeZone: "UTC", Categories: map[string]recipient.Choice{"news": recipient.Digest},
			Digest: recipient.DigestTimes{Window: recipient.Daily, At: "00:00", Weekday: "monday"},
		},
	}
}

func (p *people) put(prefs recipient.Preferences) error {
	_, err := p.Change(p.t.Context(), prefs.ID, func(_ *recipient.Preferences, now time.Time) (*recipient.Preferences, error) {
		out := prefs
		out.UpdatedAt = now
		return &out, nil
	})
	return err
}

// gather settles a job that is gathered for id.
func (p *people) gather(id, category string) job.ID {
	p.t.Helper()
	j := running(p.t, p.jobs, 1)[0]
	prefs := daily(id)
	item := recipient.Decision{For: &prefs}.Item(j.ID, category, "title of "+string(j.ID), "text")
	if _, err := p.jobs.Settle(p.t.Context(), done(j, item)); err != nil {
		p.t.Fatal(err)
	}
	return j.ID
}

func (p *people) due() []recipient.Gathered {
	p.t.Helper()
	due, err := p.Due(p.t.Context(), 100)
	if err != nil {
		p.t.Fatal(err)
	}
	return due
}

func (p *people) items(d recipient.Gathered, without ...string) []job.ID {
	p.t.Helper()
	c, err := p.Items(p.t.Context(), d, without, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	if c.Total != len(c.Items) {
		p.t.Errorf("of %d items %d are listed", c.Total, len(c.Items))
	}
	var out []job.ID
	for _, item := range c.Items {
		out = append(out, item.Job)
	}
	return out
}

func digestMail() *job.New {
	id := job.NewID()
	return &job.New{ID: id, Type: "email:send", Queue: "email", Payload: []byte("{}"), MaxAttempts: 3, OnAmbiguous: tasks.Resend}
}

func (p *people) close(d recipient.Gathered, mail *job.New) bool {
	p.t.Helper()
	_, ok, err := p.Close(p.t.Context(), d, mail)
	if err != nil {
		p.t.Fatal(err)
	}
	return ok
}

// nextDay is just after the next midnight.
func (p *people) nextDay() {
	p.clock.Set(p.clock.Now().Truncate(24 * time.Hour).Add(24*time.Hour + time.Second))
}

func onPeople(t *testing.T, f func(t *testing.T, p *people)) {
	onEach(t, func(t *testing.T, url string) { f(t, newPeople(t, url, store.Options{})) })
}

func TestPreferencesAreKept(t *testing.T) {
	onPeople(t, func(t *testing.T, p *people) {
		full := daily("ann")
		full.QuietHours = &recipient.QuietHours{From: "22:00", To: "08:00"}
		full.Version, full.UpdatedAt = 7, p.clock.Now()
		bare := recipient.Preferences{ID: "bob", Settings: recipient.Settings{TimeZone: "UTC"}, Version: 1, UpdatedAt: p.clock.Now()}
		other := bare
		other.ID = "carol" // two without an address
		for _, prefs := range []recipient.Preferences{full, bare, other} {
			for range 2 { // the second replaces the first
				if err := p.put(prefs); err != nil {
					t.Fatal(err)
				}
			}
		}
		byID, err := p.OfIDs(t.Context(), []string{"ann", "bob", "nobody", ""})
		if err != nil {
			t.Fatal(err)
		}
		byAddress, err := p.OfAddresses(t.Context(), []string{"ann@example.org", "", "x@example.org"})
		if err != nil {
			t.Fatal(err)
		}
		if len(byID) != 2 || len(byAddress) != 1 {
			t.Errorf("found are %v by id and %v by address", byID, byAddress)
		}
		for _, got := range []recipient.Preferences{byID["ann"], byAddress["ann@example.org"]} {
			if fmt.Sprint(got.QuietHours) != fmt.Sprint(full.QuietHours) {
				t.Errorf("the quiet hours are %v", got.QuietHours)
			}
			got.QuietHours = full.QuietHours
			if fmt.Sprint(got) != fmt.Sprint(full) {
				t.Errorf("kept is\n%v, want\n%v", got, full)
			}
		}
	})
}

func TestPreferencesChange(t *testing.T) {
	onPeople(t, func(t *testing.T, p *people) {
		ctx := t.Context()
		for _, id := range []string{"ann", "bob"} {
			if err := p.put(daily(id)); err != nil {
				t.Fatal(err)
			}
		}
		taken := daily("bob")
		taken.Address = "ann@example.org"
		if err := p.put(taken); job.CodeOf(err) != job.CodeConflict {
			t.Errorf("another's address: %v", err)
		}
		refused := errors.New("no")
		_, err := p.Change(ctx, "ann", func(old *recipient.Preferences, now time.Time) (*recipient.Preferences, error) {
			if old == nil || old.ID != "ann" || !now.Equal(p.clock.Now()) {
				t.Errorf("they are %v at %v", old, now)
			}
			return nil, job.Wrap(job.CodeConflict, refused, "no")
		})
		if !errors.Is(err, refused) {
			t.Errorf("the error is %v", err)
		}
		for range 2 { // the second time there is nothing to delete
			if _, err := p.Change(ctx, "ann", func(*recipient.Preferences, time.Time) (*recipient.Preferences, error) { return nil, nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.put(taken); err != nil {
			t.Errorf("an address that is free again: %v", err)
		}
		if left, err := p.OfIDs(ctx, []string{"ann", "bob"}); err != nil || len(left) != 1 || left["bob"].Address != "ann@example.org" {
			t.Errorf("left are %v, %v", left, err)
		}
	})
}

// Of those who change what they have seen at the same moment, one does.
func TestPreferencesChangeTogether(t *testing.T) {
	onPeople(t, func(t *testing.T, p *people) {
		s := recipient.New(recipient.Options{Store: p, Log: testkit.Logger(t)})
		seen := int64(0)
		for range 3 {
			var done atomic.Int32
			each(6, func(int) {
				prefs := daily("ann")
				switch got, err := s.Put(t.Context(), prefs, seen); {
				case err == nil:
					done.Add(1)
					if got.Version == seen {
						t.Error("the version stays the same")
					}
				case !errors.Is(err, recipient.ErrChanged) || job.CodeOf(err) != job.CodeConflict:
					t.Errorf("losing: %v", err)
				}
			})
			if done.Load() != 1 {
				t.Errorf("%d have changed them", done.Load())
			}
			got, err := s.Get(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			seen = got.Version
		}
	})
}

// Of those who take an address at the same moment, one gets it.
func TestAddressIsTakenOnce(t *testing.T) {
	onPeople(t, func(t *testing.T, p *people) {
		for _, id := range []string{"ann", "bob"} { // beside two who have no preferences yet
			if err := p.put(daily(id)); err != nil {
				t.Fatal(err)
			}
		}
		ids := []string{"ann", "bob", "carol", "dave"}
		var got atomic.Int32
		each(len(ids), func(i int) {
			prefs := daily(ids[i])
			prefs.Address = "family@example.org"
			if err := p.put(prefs); err == nil {
				got.Add(1)
			} else if job.CodeOf(err) != job.CodeConflict {
				t.Errorf("losing: %v", err)
			}
		})
		if got.Load() != 1 {
			t.Errorf("%d have got it", got.Load())
		}
	})
}

func TestDigestGathers(t *testing.T) {
	onPeople(t, func(t *testing.T, p *people) {
		first := p.gather("ann", "news")
		p.clock.Advance(time.Millisecond)
		second := p.gather("ann", "offers")
		other := p.gather("bob", "news")
		if due := p.due(); len(due) != 0 {
			t.Errorf("due before its time are %v", due)
		}
		p.nextDay()
		due := p.due()
		if len(due) != 2 {
			t.Fatalf("due are %v", due)
		}
		ann, bob := due[0], due[1]
		if ann.Recipient != "ann" {
			ann, bob = bob, ann
		}
		want := recipient.Gathered{Recipient: "ann", EndsAt: p.clock.Now().Truncate(24 * time.Hour), Address: "ann@example.org", Items: 2}
		if ann != want {
			t.Errorf("the digest is %+v, want %+v", ann, want)
		}
		if got := p.items(ann); !slices.Equal(got, []job.ID{first, second}) {
			t.Errorf("gathered are %v", got)
		}
		if got := p.items(ann, "news", "sports"); !slices.Equal(got, []job.ID{second}) {
			t.Errorf("without news there are %v", got)
		}
		if got := p.items(bob); !slices.Equal(got, []job.ID{other}) {
			t.Errorf("gathered are %v", got)
		}
		c, err := p.Items(t.Context(), ann, nil, 1)
		if err != nil || c.Total != 2 || len(c.Items) != 1 {
			t.Fatalf("a page of one has %+v, %v", c, err)
		}
		if item := c.Items[0]; item.Category != "news" || item.Title != "title of "+string(first) || item.Text != "text" || item.At.IsZero() {
			t.Errorf("the item is %+v", item)
		}
	})
}

// A digest is closed once, when its time has come, as it was looked at, and its
// mail is accepted with it or not at all.
func TestDigestCloses(t *testing.T) {
	onPeople(t, func(t *testing.T, p *people) {
		p.gather("ann", "news")
		early := recipient.Gathered{Recipient: "ann", EndsAt: p.clock.Now().Truncate(24 * time.Hour).Add(24 * time.Hour), Items: 1}
		if p.close(early, digestMail()) {
			t.Error("it is closed before its time")
		}
		p.nextDay()
		d := p.due()[0]
		grown := d
		grown.Items++
		if p.close(grown, digestMail()) {
			t.Error("it is closed though it is another than was looked at")
		}
		mails := []*job.New{digestMail(), digestMail(), digestMail(), digestMail()}
		var won atomic.Int32
		each(len(mails), func(i int) {
			if p.close(d, mails[i]) {
				won.Add(1)
				if !p.close(d, mails[i]) {
					t.Error("the repeat of the call that closed it is told otherwise")
				}
			}
		})
		all, err := p.jobs.List(t.Context(), job.Filter{Type: "email:send", Limit: 100})
		if err != nil || won.Load() != 1 || len(all) != 1 || all[0].State != job.Waiting {
			t.Errorf("%d closed it, mails are %v, %v", won.Load(), all, err)
		}
		if p.close(d, nil) {
			t.Error("it is closed again without a mail")
		}
		if due := p.due(); len(due) != 0 {
			t.Errorf("still due are %v", due)
		}
		p.gather("bob", "news")
		p.nextDay()
		if d := p.due()[0]; !p.close(d, nil) || len(p.due()) != 0 {
			t.Error("it is not closed without a mail")
		}
	})
}

// What is settled for a window that was closed meanwhile, by a transaction that
// began before, goes into the next.
func TestDigestMovesWhatIsLate(t *testing.T) {
	onPeople(t, func(t *testing.T, p *people) {
		p.gather("ann", "news")
		p.nextDay()
		d := p.due()[0]
		if !p.close(d, digestMail()) {
			t.Fatal("it is not closed")
		}
		p.clock.Set(d.EndsAt.Add(-time.Minute))
		late := p.gather("ann", "news")
		p.nextDay()
		if due := p.due(); len(due) != 0 {
			t.Errorf("due are %v", due)
		}
		p.nextDay()
		due := p.due()
		if len(due) != 1 || !due[0].EndsAt.Equal(d.EndsAt.Add(24*time.Hour)) {
			t.Fatalf("due are %v", due)
		}
		if got := p.items(due[0]); !slices.Equal(got, []job.ID{late}) {
			t.Errorf("gathered are %v", got)
		}
	})
}

// Digests go with the bodies of jobs, some time after they were closed.
func TestDigestsArePurged(t *testing.T) {
	onPeople(t, func(t *testing.T, p *people) {
		p.gather("ann", "news")
		p.gather("ann", "news")
		p.nextDay()
		closed := p.due()[0]
		if !p.close(closed, digestMail()) {
			t.Fatal("it is not closed")
		}
		p.gather("ann", "news")
		p.nextDay()
		keep := job.Retention{Done: 1000 * time.Hour, Bodies: 30 * time.Hour, Failed: 1000 * time.Hour}
		purge := func() {
			t.Helper()
			for range 10 {
				if n, err := p.jobs.Purge(t.Context(), keep, 1); err != nil || n == 0 {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
			}
		}
		purge()
		if n := len(p.items(closed)); n != 2 {
			t.Errorf("%d items are left before their time", n)
		}
		p.clock.Advance(20 * time.Hour)
		purge()
		if n := len(p.items(closed)); n != 0 {
			t.Errorf("%d items are left", n)
		}
		if p.close(closed, nil) || len(p.due()) != 1 || len(p.items(p.due()[0])) != 1 {
			t.Error("a digest that is due was touched")
		}
	})
}
