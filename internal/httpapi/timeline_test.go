package httpapi

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// withDatabase has what is found of recipients come from a real database.
func withDatabase(t *testing.T) (*service, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "p.db"), AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return serve(t, func(o *Options) {
		o.Deliveries = delivery.New(delivery.Options{Store: s, Jobs: o.Jobs, Suppressions: s.Suppressions()})
	}), s
}

func putJob(t *testing.T, s *store.Store, n job.New) job.ID {
	t.Helper()
	n.ID, n.MaxAttempts, n.OnAmbiguous, n.AcceptedBy = job.NewID(), 3, tasks.Resend, "shop"
	if n.Payload == nil {
		n.Payload = []byte("{}")
	}
	if _, err := s.Accept(t.Context(), job.Request{Base: n.ID, Jobs: []job.New{n}}); err != nil {
		t.Fatal(err)
	}
	return n.ID
}

func TestTimeline(t *testing.T) {
	s, db := withDatabase(t)
	first := putJob(t, db, job.New{Type: "email:send", Queue: "email", Recipient: "ann@example.com", About: tasks.Description{Subject: "Hi", Category: "news"}})
	putJob(t, db, job.New{Type: "email:send", Queue: "email", Recipient: "bob@example.com"})
	second := putJob(t, db, job.New{Type: "notification:send", Queue: "notification", Recipient: "user:ann@example.com"})
	if err := db.Suppressions().Suppress(t.Context(), mail.Suppression{Address: "ann@example.com", Category: "news", Reason: mail.Unsubscribe}); err != nil {
		t.Fatal(err)
	}
	get := func(query string) (out struct {
		Suppressed []struct{ Category, Reason string }
		Entries    []struct {
			ID, Subject, Category, State string
			Answer                       delivery.Answer
		}
		NextCursor string `json:"next_cursor"`
	}) {
		t.Helper()
		a := s.get("/recipients/Ann@Example.com/timeline" + query).want(http.StatusOK)
		if err := json.Unmarshal([]byte(a.text), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := get("")
	if len(all.Entries) != 2 || all.Entries[0].ID != string(second) || all.Entries[1].ID != string(first) || all.NextCursor != "" {
		t.Fatalf("the timeline is %+v", all)
	}
	if e := all.Entries[1]; e.Subject != "Hi" || e.Category != "news" || e.State != "queued" || e.Answer.Verdict != delivery.NotYet || !strings.Contains(e.Answer.Text, "waited for a worker") {
		t.Errorf("the entry is %+v", e)
	}
	if len(all.Suppressed) != 1 || all.Suppressed[0].Category != "news" || all.Suppressed[0].Reason != "unsubscribe" {
		t.Errorf("suppressed are %+v", all.Suppressed)
	}
	page := get("?limit=1")
	if len(page.Entries) != 1 || page.NextCursor == "" {
		t.Fatalf("the first page is %+v", page)
	}
	if page = get("?limit=1&cursor=" + page.NextCursor); len(page.Entries) != 1 || page.Entries[0].ID != string(first) {
		t.Errorf("the second page is %+v", page)
	}
}

func TestErasing(t *testing.T) {
	s, db := withDatabase(t)
	id := putJob(t, db, job.New{Type: "email:send", Queue: "email", Recipient: "ann@example.com", State: job.Suppressed})
	count := s.call(http.MethodDelete, "/recipients/ann@example.com", "").want(http.StatusOK)
	if count.json["dry_run"] != true || count.json["erased"] != 0.0 || !strings.Contains(count.text, `"jobs":{"suppressed":1}`) {
		t.Errorf("without confirm: %s", count.text)
	}
	if j, err := db.Find(t.Context(), id); err != nil || j.Recipient == "" {
		t.Errorf("counting erased: %+v, %v", j, err)
	}
	did := s.call(http.MethodDelete, "/recipients/Ann@Example.com?confirm=true", "").want(http.StatusOK)
	if did.json["done"] != true || did.json["erased"] != 1.0 || did.json["next_cursor"] != nil {
		t.Errorf("confirmed: %s", did.text)
	}
	if j, err := db.Find(t.Context(), id); err != nil || j.Recipient != "" || !j.PayloadGone {
		t.Errorf("what stays is %+v, %v", j, err)
	}
	for _, bad := range []string{"/recipients/ann", "/recipients/a@example.com?confirm=true&cursor=x", "/recipients/a@example.com?confirm=true&cursor=*"} {
		s.call(http.MethodDelete, bad, "").want(http.StatusUnprocessableEntity)
	}
}
