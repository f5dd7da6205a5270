package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

func TestResend(t *testing.T) {
	s := serve(t)
	old := s.post("/jobs/send-email", shortMail).want(http.StatusAccepted).str("id")
	resend := "/jobs/" + old + "/resend"
	if a := s.post(resend, "").want(http.StatusConflict); !strings.Contains(a.text, "still to be sent") {
		t.Errorf("before it was sent: %s", a.text)
	}
	s.run(old, job.Succeeded("ok"))
	a := s.post(resend, "", "Idempotency-Key", "k").want(http.StatusAccepted)
	made := a.str("id")
	if want := fmt.Sprintf(`{"message":"Job added to queue","id":%q,"queue":"email","state":"queued"}`+"\n", made); made == old || a.text != want {
		t.Errorf("the answer is %s want %s", a.text, want)
	}
	if got := s.mail(made); got.Subject != "Welcome!" || got.Text != "Thanks for signing up." || s.stored(made).Recipient != "user@example.com" {
		t.Errorf("the new mail is %+v", got)
	}
	for id, want := range map[string]string{old: "as the job " + made, made: "what the job " + old + " said"} {
		if a := s.get("/jobs/" + id).want(http.StatusOK); strings.Count(a.text, want) != 1 {
			t.Errorf("the history of %s lacks %q: %s", id, want, a.text)
		}
	}

	// Without the key it is a request of its own, and so is one about another job.
	if other := s.post(resend, "").want(http.StatusAccepted).str("id"); other == made {
		t.Error("without a key it is answered as before")
	}
	s.run(made, job.Succeeded("ok"))
	s.post("/jobs/"+made+"/resend", "", "Idempotency-Key", "k").want(http.StatusConflict)

	// What it said is gone after its retention, and the first answer is not.
	s.store.Clock.Advance(2 * time.Hour)
	if _, err := s.store.Purge(context.Background(), job.Retention{Done: 24 * time.Hour, Bodies: time.Hour, Failed: 24 * time.Hour}, 100); err != nil {
		t.Fatal(err)
	}
	if a := s.post(resend, "").want(http.StatusConflict); !strings.Contains(a.text, "was deleted") {
		t.Errorf("of a job without a body: %s", a.text)
	}
	again := s.post(resend, "", "Idempotency-Key", "k").want(http.StatusAccepted)
	if again.str("id") != made || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("asked again: %s", again.text)
	}
	if a := s.get("/jobs/" + old); strings.Count(a.text, "as the job "+made) != 1 {
		t.Errorf("its history says it twice: %s", a.text)
	}

	s.post("/jobs/"+string(job.NewID())+"/resend", "").want(http.StatusNotFound)
	s.post("/jobs/x/resend", "").want(http.StatusNotFound)
	s.post("/jobs/"+old+"/resend", "", "Idempotency-Key", strings.Repeat("k", 256)).want(http.StatusUnprocessableEntity)
}
