package jobtest

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/postrider/postrider/internal/job"
)

// oddEffect is one that no store knows.
type oddEffect struct{}

func (oddEffect) EffectName() string { return "odd" }

var effectScenarios = []scenario{
	{"written with the outcome", func(s *suite) {
		j := s.claim(s.accept())
		want := notification(j.ID, "user:ann")
		s.settle(j, done(want))
		got := s.stream("user:ann")
		if len(got) != 1 {
			s.Fatalf("there are %d notifications, want 1", len(got))
		}
		n := got[0]
		equal(s, "id", n.ID, want.ID)
		equal(s, "stream", n.Stream, want.Stream)
		equal(s, "sequence", n.Seq, 1)
		equal(s, "type", n.Type, want.Type)
		equal(s, "message", n.Message, want.Message)
		s.near("created at", n.CreatedAt, s.clock.Now())
		var gotData, wantData any
		s.ok(json.Unmarshal(n.Data, &gotData), "reading the data")
		s.ok(json.Unmarshal(want.Data, &wantData), "reading the data")
		if !reflect.DeepEqual(gotData, wantData) {
			s.Errorf("the data are %s, want %s", n.Data, want.Data)
		}
	}},

	{"once for a repeated settle", func(s *suite) {
		j := s.claim(s.accept())
		for range 3 {
			s.settle(j, done(notification(j.ID, "user:ann")))
		}
		together(8, func(int) {
			if _, err := s.store.Settle(s.ctx, plan(j, done(notification(j.ID, "user:ann")))); err != nil {
				s.Errorf("settling: %v", err)
			}
		})
		equal(s, "notifications", len(s.stream("user:ann")), 1)
	}},

	{"not for a late settle", func(s *suite) {
		old := s.claim(s.accept())
		s.die()
		current := s.claim(old.ID)
		s.settleLate(old, done(notification(old.ID, "user:ann")))
		equal(s, "notifications", len(s.stream("user:ann")), 0)
		s.settle(current, done(notification(old.ID, "user:ann")))
		equal(s, "notifications", len(s.stream("user:ann")), 1)
	}},

	{"dense sequences under settles at once", func(s *suite) {
		const streams, each = 5, 10
		var claimed []job.Job
		for _, id := range s.acceptBatch(streams * each) {
			claimed = append(claimed, s.claim(id))
		}
		together(len(claimed), func(i int) {
			n := notification(claimed[i].ID, fmt.Sprintf("room:%d", i%streams))
			if _, err := s.store.Settle(s.ctx, plan(claimed[i], done(n))); err != nil {
				s.Errorf("settling: %v", err)
			}
		})
		seen := map[job.ID]bool{}
		for i := range streams {
			got := s.stream(fmt.Sprintf("room:%d", i))
			equal(s, "notifications of a stream", len(got), each)
			for k, n := range got {
				equal(s, "sequence", n.Seq, int64(k+1))
				seen[n.ID] = true
			}
		}
		equal(s, "jobs notified", len(seen), streams*each)
	}},

	{"one that cannot be written hurts its own settle alone", func(s *suite) {
		var claimed []job.Job
		for _, id := range s.acceptBatch(12) {
			claimed = append(claimed, s.claim(id))
		}
		bad := claimed[5]
		together(len(claimed), func(i int) {
			o, want := done(notification(claimed[i].ID, "everyone")), job.Code("")
			if claimed[i].ID == bad.ID {
				o, want = done(oddEffect{}), job.CodeInternal
			}
			if _, err := s.store.Settle(s.ctx, plan(claimed[i], o)); job.CodeOf(err) != want {
				s.Errorf("settling: %v, want code %q", err, want)
			}
		})
		s.wantState(bad.ID, job.Running)
		equal(s, "notifications", len(s.stream("everyone")), 11)
		s.settle(bad, done(notification(bad.ID, "everyone")))
		equal(s, "notifications", len(s.stream("everyone")), 12)
	}},

	{"a purge leaves notifications", func(s *suite) {
		j := s.claim(s.accept())
		s.settle(j, done(notification(j.ID, "user:ann")))
		s.clock.Advance(2 * retention.Done)
		s.purge(100)
		equal(s, "notifications", len(s.stream("user:ann")), 1)
	}},
}
