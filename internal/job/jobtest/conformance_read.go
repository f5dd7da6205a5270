package jobtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
)

var readScenarios = []scenario{
	{"no such job", func(s *suite) {
		_, err := s.store.Find(s.ctx, job.NewID())
		s.wantCode(err, job.CodeNotFound)
	}},

	{"the time", func(s *suite) {
		for range 2 {
			now, err := s.store.Now(s.ctx)
			s.ok(err, "reading the time")
			s.near("the time", now, s.clock.Now())
			s.clock.Advance(time.Hour)
		}
	}},

	{"the first 1,000 events", func(s *suite) {
		id := s.accept()
		_, err := s.store.Change(s.ctx, []job.ID{id}, func(j *job.Job, now time.Time) ([]job.Event, error) {
			var events []job.Event
			for i := range 1100 {
				events = append(events, job.Event{Job: id, At: now, Kind: job.EventRunNow, State: j.State, Run: i})
			}
			return events, nil
		})
		s.ok(err, "changing")
		events := s.events(id)
		equal(s, "events", len(events), 1000)
		for i, e := range events[1:] {
			equal(s, "the event's place", e.Run, i)
		}
	}},

	{"every filter", func(s *suite) {
		start := s.clock.Now()
		mail := func(n *job.New) { n.Type, n.Queue, n.Recipient = "email:send", "email", "ann@example.org" }
		bulk := func(n *job.New) { n.Type, n.Queue, n.Recipient = "email:send", "bulk", "bob@example.org" }
		queued := s.accept(mail)
		scheduled := s.accept(bulk, func(n *job.New) { n.Delay = time.Hour })
		welcome := func(n *job.New) { n.About.Template = "welcome" }
		news := func(n *job.New) { n.About.Category = "news" }
		retrying := s.finish(temporary(time.Hour), mail, welcome)
		returned := s.finish(job.Outcome{Kind: job.OutcomeGivenBack})
		done, failed := s.finish(done()), s.finish(job.PermanentFailure("550 no"), bulk, news)
		running := s.accept()
		runner := s.claim(running).Worker
		s.clock.Advance(time.Minute)
		timed := s.accept(welcome, news, func(n *job.New) { n.AcceptedBy = "schedule:nightly" })
		pair := s.acceptBatch(2)
		pairID := s.find(pair[0]).Batch

		all := []job.ID{queued, scheduled, retrying, returned, done, failed, running, timed, pair[0], pair[1]}
		for _, c := range []struct {
			name   string
			filter job.Filter
			want   []job.ID
		}{
			{"all", job.Filter{}, all},
			{"waiting", job.Filter{Status: "waiting"}, []job.ID{queued, scheduled, retrying, returned, timed, pair[0], pair[1]}},
			{"queued", job.Filter{Status: "queued"}, []job.ID{queued, returned, timed, pair[0], pair[1]}},
			{"scheduled", job.Filter{Status: "scheduled"}, []job.ID{scheduled}},
			{"retrying", job.Filter{Status: "retrying"}, []job.ID{retrying}},
			{"running", job.Filter{Status: "running"}, []job.ID{running}},
			{"done", job.Filter{Status: "done"}, []job.ID{done}},
			{"failed", job.Filter{Status: "failed"}, []job.ID{failed}},
			{"held", job.Filter{Status: "held"}, nil},
			{"type", job.Filter{Type: "email:send"}, []job.ID{queued, scheduled, retrying, failed}},
			{"queue", job.Filter{Queue: "bulk"}, []job.ID{scheduled, failed}},
			{"recipient", job.Filter{Recipient: "ann@example.org"}, []job.ID{queued, retrying}},
			{"batch", job.Filter{Batch: pairID}, pair},
			{"since the start", job.Filter{Since: start.Add(-slack)}, all},
			{"since", job.Filter{Since: start.Add(30 * time.Second)}, []job.ID{timed, pair[0], pair[1]}},
			{"until", job.Filter{Until: start.Add(30 * time.Second)}, []job.ID{queued, scheduled, retrying, returned, done, failed, running}},
			{"code", job.Filter{Code: job.CodePermanent}, []job.ID{failed}},
			{"template", job.Filter{Template: "welcome"}, []job.ID{retrying, timed}},
			{"category", job.Filter{Category: "news"}, []job.ID{failed, timed}},
			{"template and category", job.Filter{Template: "welcome", Category: "news"}, []job.ID{timed}},
			{"category and status", job.Filter{Category: "news", Status: "failed"}, []job.ID{failed}},
			{"category and recipient", job.Filter{Category: "news", Recipient: "bob@example.org"}, []job.ID{failed}},
			{"category, a page", job.Filter{Category: "news", Before: timed, Since: start.Add(-slack), Until: start.Add(time.Hour)}, []job.ID{failed}},
			{"schedule", job.Filter{Schedule: "nightly"}, []job.ID{timed}},
			{"schedule and status", job.Filter{Schedule: "nightly", Status: "cancelled"}, nil},
			{"worker", job.Filter{Worker: runner}, []job.ID{running}},
			{"another worker", job.Filter{Worker: "nobody"}, nil},
			{"unchanged", job.Filter{Unchanged: start.Add(30 * time.Second), Status: "failed"}, []job.ID{failed}},
			{"changed since", job.Filter{Unchanged: start}, nil},
			{"before", job.Filter{Before: retrying}, []job.ID{queued, scheduled}},
			{"type and status", job.Filter{Type: "email:send", Status: "failed"}, []job.ID{failed}},
			{"all of them", job.Filter{
				Type: "email:send", Queue: "email", Recipient: "ann@example.org", Status: "queued",
				Since: start.Add(-slack), Before: retrying,
			}, []job.ID{queued}},
			{"none", job.Filter{Type: "email:send", Queue: "default"}, nil},
		} {
			c.filter.Limit = 100
			var got []job.ID
			for _, j := range s.list(c.filter) {
				got = append(got, j.ID)
			}
			want := slices.Clone(c.want)
			slices.Reverse(want)
			if !slices.Equal(got, want) {
				s.Errorf("%s: found %v, want %v", c.name, got, want)
			}
			n, err := s.store.Count(s.ctx, c.filter)
			s.ok(err, "counting")
			if n != len(want) {
				s.Errorf("%s: counted %d, want %d", c.name, n, len(want))
			}
		}
	}},

	{"a status is that of when jobs were unchanged", func(s *suite) {
		scheduled := s.accept(func(n *job.New) { n.Delay = time.Hour })
		queued := s.accept()
		s.clock.Advance(time.Minute)
		counted := s.clock.Now()
		s.clock.Advance(time.Hour) // meanwhile the first has become due
		for status, want := range map[string]job.ID{"scheduled": scheduled, "queued": queued} {
			f := job.Filter{Status: status, Unchanged: counted, Limit: 10}
			got := s.list(f)
			equal(s, "jobs "+status, len(got), 1)
			equal(s, "the job "+status, got[0].ID, want)
			n, err := s.store.Count(s.ctx, f)
			s.ok(err, "counting")
			equal(s, "count "+status, n, 1)
		}
	}},

	{"a listed job is whole but for its payload", func(s *suite) {
		id := s.finish(temporary(time.Hour))
		want := s.find(id)
		want.Payload = nil
		got := s.list(job.Filter{Limit: 1})
		equal(s, "jobs", len(got), 1)
		sameRow(s, "listed", got[0], want)
	}},

	{"pages have no gaps", func(s *suite) {
		var want []job.ID
		for range 5 {
			want = append(want, s.acceptBatch(7)...)
		}
		for _, limit := range []int{1, 7, 10, 35, 1000} {
			var got []job.ID
			f := job.Filter{Limit: limit}
			for page := s.list(f); len(page) > 0; page = s.list(f) {
				if len(page) > limit {
					s.Fatalf("a page of %d has %d jobs", limit, len(page))
				}
				for _, j := range page {
					got = append(got, j.ID)
				}
				f.Before = got[len(got)-1]
				if limit < 35 && len(got) < 10 {
					s.accept() // newer ones do not move the pages
				}
			}
			slices.Reverse(got)
			if first := slices.Index(got, want[0]); first != 0 || !contains(got, want) {
				s.Errorf("pages of %d found %d jobs, want the %d in their order", limit, len(got), len(want))
			}
		}
	}},

	{"a thousand in a page", func(s *suite) {
		s.acceptBatch(1001)
		equal(s, "jobs", len(s.list(job.Filter{Limit: job.MaxPage})), job.MaxPage)
	}},

	{"odd words in a filter", func(s *suite) {
		s.accept()
		for _, word := range []string{"'", `"; --`, "%", "_", "ü世", "\x00", "\xff"} {
			for name, f := range map[string]job.Filter{
				"type": {Type: word}, "queue": {Queue: word}, "recipient": {Recipient: word}, "batch": {Batch: job.ID(word)},
				"template": {Template: word}, "category": {Category: word}, "schedule": {Schedule: word},
			} {
				f.Limit = 10
				got, err := s.store.List(s.ctx, f)
				if code := job.CodeOf(err); len(got) != 0 || (code != "" && code != job.CodeInvalid) {
					s.Errorf("%s %q: found %d jobs, %v", name, word, len(got), err)
				}
			}
		}
	}},
}

func (s *suite) list(f job.Filter) []job.Job {
	s.Helper()
	got, err := s.store.List(s.ctx, f)
	s.ok(err, fmt.Sprintf("listing %+v", f))
	return got
}

// contains reports whether ids has those of part in their order.
func contains(ids, part []job.ID) bool {
	for _, id := range ids {
		if len(part) > 0 && id == part[0] {
			part = part[1:]
		}
	}
	return len(part) == 0
}
