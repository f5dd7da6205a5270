package job_test

import (
	"errors"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// A job that another transaction accepts is built and sent as one of Accept's.
func TestPrepareAndDispatch(t *testing.T) {
	r := newRig(t)
	r.Start()
	n, err := r.Prepare(t.Context(), job.Submission{Type: "email:send", Payload: []byte(`{"to":["Ann@Example.com"],"subject":"s","text":"t"}`), Delay: time.Minute}, "schedule:s")
	if err != nil {
		t.Fatal(err)
	}
	if n.ID == "" || n.Queue != "email" || n.Recipient != "ann@example.com" || n.AcceptedBy != "schedule:s" || n.MaxAttempts == 0 {
		t.Errorf("the job is %+v", n)
	}
	now := time.Now()
	r.Dispatch([]job.New{n}, now)
	sent, err := r.redis.WaitSent(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := sent[0]; got.ID != n.ID || got.Dispatch != 1 || got.Type != n.Type || got.Queue != "email" || len(got.Payload) != 0 || !got.RunAt.Equal(now.Add(time.Minute)) {
		t.Errorf("the task is %+v", got)
	}
	if err := r.Stop(within(t)); err != nil {
		t.Error(err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		sub   job.Submission
		field string
	}{
		{job.Submission{Type: "fax:send"}, "type"},
		{job.Submission{Type: "noop:ephemeral"}, "type"},
		{job.Submission{Type: "noop", Queue: "nowhere"}, "queue"},
		{job.Submission{Type: "noop", Payload: []byte(`{"sleep_ms":-1}`)}, "payload.sleep_ms"},
	} {
		_, err := r.Prepare(t.Context(), test.sub, "schedule:s")
		var e *job.Error
		if !errors.As(err, &e) || e.Code != job.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Field != test.field {
			t.Errorf("%+v: %v, want %s refused", test.sub, err, test.field)
		}
	}
}
