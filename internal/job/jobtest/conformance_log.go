package jobtest

import "github.com/postrider/postrider/internal/job"

var logScenarios = []scenario{
	{"an empty log", func(s *suite) {
		end, _, err := s.store.EventsEnd(s.ctx)
		s.ok(err, "asking for the last event")
		page, err := s.store.EventsAfter(s.ctx, end, 10)
		s.ok(err, "reading events")
		equal(s, "events", len(page.Events), 0)
	}},

	{"every event in its order", func(s *suite) {
		begin, _, err := s.store.EventsEnd(s.ctx)
		s.ok(err, "asking for the last event")
		mail := s.accept(func(n *job.New) { n.Type, n.Queue = "email:send", "email" })
		other := s.accept()
		s.settle(s.claim(mail), job.Outcome{Kind: job.OutcomePermanent, Message: "550 no", ReplyCode: 550})

		end, mark, err := s.store.EventsEnd(s.ctx)
		s.ok(err, "asking for the last event")
		page, err := s.store.EventsAfter(s.ctx, begin, 10)
		s.ok(err, "reading events")
		if page.Over < mark {
			s.Errorf("transactions below %d are over, and nothing is under way: want %d at least", page.Over, mark)
		}
		want := []struct {
			id          job.ID
			kind        job.EventKind
			state       job.State
			typ, queue  string
			reply, runs int
		}{
			{mail, job.EventAccepted, job.Waiting, "email:send", "email", 0, 0},
			{other, job.EventAccepted, job.Waiting, "test:job", "default", 0, 0},
			{mail, job.EventStarted, job.Running, "email:send", "email", 0, 1},
			{mail, job.EventSettled, job.Failed, "email:send", "email", 550, 1},
		}
		equal(s, "events", len(page.Events), len(want))
		for i, e := range page.Events {
			w := want[i]
			if e.Job != w.id || e.Kind != w.kind || e.State != w.state || e.Type != w.typ || e.Queue != w.queue || e.ReplyCode != w.reply || e.Run != w.runs {
				s.Errorf("event %d is %+v, want %+v", i, e, w)
			}
			if i > 0 && e.Seq <= page.Events[i-1].Seq {
				s.Errorf("event %d has the number %d after %d", i, e.Seq, page.Events[i-1].Seq)
			}
			s.near("the event's time", e.At, s.clock.Now())
		}
		equal(s, "the last number", page.Events[len(want)-1].Seq, end)

		some, err := s.store.EventsAfter(s.ctx, page.Events[0].Seq, 2)
		s.ok(err, "reading events")
		equal(s, "the events of a page", len(some.Events), 2)
		equal(s, "the first of a page", some.Events[0].Seq, page.Events[1].Seq)
	}},
}
