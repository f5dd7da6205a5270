package dashboard

import (
	"context"
	"encoding/csv"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// mailRig is a rig whose mails and timetable are in a real database.
type mailRig struct {
	*rig
	store     *store.Store
	jobs      *job.Service
	schedules *schedule.Service
}

func newMailRig(t *testing.T, change ...func(*Options)) *mailRig {
	t.Helper()
	log := testkit.Logger(t)
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "p.db"), AutoMigrate: true}, log, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	types, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		t.Fatal(err)
	}
	m := &mailRig{store: s, jobs: job.NewService(job.Options{
		Store: s, Dispatcher: jobtest.NewDispatcher(), Types: types, Queues: []string{"email", "default", "notification", "maintenance"},
		Log: log, Metrics: prometheus.NewRegistry(),
	})}
	m.jobs.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.jobs.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	m.schedules = schedule.New(schedule.Options{Store: s.Schedules(), Jobs: m.jobs, Log: log, Metrics: prometheus.NewRegistry()})
	m.rig = newRig(t, append([]func(*Options){func(o *Options) {
		o.Schedules = m.schedules
		o.Jobs, o.Suppressions, o.Audit = m.jobs, s.Suppressions(), audit.New(s.Audit(), log)
		o.Deliveries = delivery.New(delivery.Options{
			Store: s, Jobs: m.jobs, Suppressions: s.Suppressions(),
			Objectives: delivery.Objectives{{Category: "receipt", Share: 0.99, Within: time.Minute}},
		})
	}}, change...)...)
	return m
}

// put accepts a mail.
func (m *mailRig) put(to, subject, category string, delay time.Duration) job.ID {
	m.t.Helper()
	got, err := m.jobs.Accept(m.t.Context(), job.Caller{Name: "shop"}, job.Submission{
		Type: "email:send", Delay: delay,
		Payload: []byte(`{"to":["` + to + `"],"subject":"` + subject + `","text":"Hello.","category":"` + category + `"}`),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return got.Jobs[0].ID
}

// settle ends a run of the job's.
func (m *mailRig) settle(id job.ID, o job.Outcome) {
	m.t.Helper()
	got, err := m.store.Claim(m.t.Context(), job.Claim{ID: id, Token: string(job.NewID()), Worker: "worker-1", Lease: 30 * time.Second})
	if err != nil || got.Verdict != job.Granted {
		m.t.Fatalf("claiming: %v, %v", got.Verdict, err)
	}
	if _, err := m.store.Settle(m.t.Context(), job.Plan(&got.Job, tasks.DefaultBackoff, o)); err != nil {
		m.t.Fatal(err)
	}
}

func TestDeliveries(t *testing.T) {
	m := newMailRig(t)
	ann, bob := m.as("ann"), m.as("bob")
	sent := m.put("user@example.com", "Your receipt", "receipt", 0)
	o := job.Succeeded("main (mx.example.com:25): 2.0.0 OK")
	o.ReplyCode = 250
	m.settle(sent, o)
	failed := m.put("other@example.com", "=1+1", "news", 0)
	m.settle(failed, job.PermanentFailure("550 5.1.1 <other@example.com> unknown"))

	list := ann.get("/admin/deliveries").want(t, http.StatusOK, "user@example.com", "Your receipt", "to main (mx.example.com:25): 2.0.0 OK, reply 250",
		"Not sent: given up after 1 attempt: 550 5.1.1 &lt;other@example.com&gt; unknown", "/admin/deliveries/"+string(sent))
	if strings.Index(list.body, "other@") > strings.Index(list.body, "user@") {
		t.Error("the newest is not first")
	}
	for path, c := range map[string]struct{ has, lacks string }{
		"?q=user@example.com":                        {"user@", "other@"},
		"?q=your+RECEIPT":                            {"user@", "other@"},
		"?category=news":                             {"other@", "user@"},
		"?state=failed":                              {"other@", "user@"},
		"?q=user@example.com&state=failed":           {"No mail for “user@example.com” is failed", "/admin/deliveries/" + string(sent)},
		"?since=2100-01-01":                          {"No mail", "/admin/deliveries/" + string(sent)},
		"?until=2100-01-01&before=" + string(failed): {"user@", "other@"},
	} {
		ann.get("/admin/deliveries"+path).want(t, http.StatusOK, c.has).lacks(t, c.lacks)
	}
	ann.get("/admin/deliveries?since=yesterday").want(t, http.StatusUnprocessableEntity, "2026-07-01")
	for _, q := range []string{string(sent), "<" + string(sent) + "@example.org>"} {
		if got := ann.get("/admin/deliveries?q=" + url.QueryEscape(q)); got.status != http.StatusSeeOther || got.header.Get("Location") != deliveryPath(sent) {
			t.Errorf("%s leads to %d %s", q, got.status, got.header.Get("Location"))
		}
	}
	ann.get(deliveryPath(sent)).want(t, http.StatusOK, "Sent at", "Accepted from shop", "Sent to main (mx.example.com:25)", "Send once more")
	ann.get(deliveryPath(job.NewID())).want(t, http.StatusNotFound)

	// A viewer sees neither addresses nor what mails are about, and may not act.
	for _, path := range []string{"", "/" + string(sent), "/" + string(failed), "?q=user@example.com"} {
		bob.get("/admin/deliveries"+path).want(t, http.StatusOK).lacks(t, ">user@", "other@", "Your receipt", "Send once more")
	}
	bob.get("/admin/deliveries?q=your").want(t, http.StatusForbidden)
	bob.post(deliveryPath(sent)+"/resend", nil).want(t, http.StatusForbidden)
	m.anonymous().post(deliveryPath(sent)+"/resend", nil).want(t, http.StatusUnauthorized)
	ann.post(deliveryPath(sent)+"/resend", nil, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }).want(t, http.StatusForbidden)

	admin, viewer := ann.get("/admin/deliveries.csv"), bob.get("/admin/deliveries.csv")
	rows, err := csv.NewReader(strings.NewReader(admin.body)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][3] != "'=1+1" || rows[2][2] != "user@example.com" || rows[2][7] != "sent" {
		t.Errorf("the file is %q: %v", admin.body, err)
	}
	viewer.want(t, http.StatusOK, "u***@example.com").lacks(t, "user@", "other@", "receipt\"", "1+1")
	ann.get("/admin/deliveries.csv?q=nobody@example.com").want(t, http.StatusOK, "id,type,recipient")
	ann.get("/admin/deliveries.csv?since=x").want(t, http.StatusUnprocessableEntity)
}

func TestActionsOnDeliveries(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	sent := m.put("user@example.com", "Hello", "", 0)
	m.settle(sent, job.Succeeded("main: OK"))

	once := url.Values{"once": {"3"}}
	first := ann.post(deliveryPath(sent)+"/resend", once).want(t, http.StatusSeeOther)
	again := ann.post(deliveryPath(sent)+"/resend", once).want(t, http.StatusSeeOther)
	path := first.header.Get("Location")
	if path != again.header.Get("Location") || path == deliveryPath(sent) {
		t.Errorf("sending twice from one page leads to %s and %s", path, again.header.Get("Location"))
	}
	ann.get(path).want(t, http.StatusOK, "Hello", "user@example.com", "Accepted from dashboard:ann", "Not yet")
	ann.get(deliveryPath(sent)).want(t, http.StatusOK, "Sent once more by dashboard:ann: as the job "+strings.TrimPrefix(path, deliveryRoot+"/"))
	ann.post(path+"/resend", nil).want(t, http.StatusConflict, "still to be sent")

	ann.post(path+"/cancel", nil).want(t, http.StatusSeeOther)
	ann.get(path).want(t, http.StatusOK, "Not sent: it was cancelled")

	next := ann.post(deliveryPath(sent)+"/suppress", nil).want(t, http.StatusSeeOther).header.Get("Location")
	ann.get(next).want(t, http.StatusOK, "gets no mail any more")
	found, err := m.store.Suppressions().Find(t.Context(), "user@example.com")
	if err != nil || len(found) != 1 || found[0].Reason != mail.Manual || found[0].Actor != "dashboard:ann" {
		t.Errorf("suppressed are %+v: %v", found, err)
	}
	ann.post(deliveryPath(sent)+"/dance", nil).want(t, http.StatusNotFound)

	// What retention took cannot be sent again.
	if _, err := m.store.Purge(t.Context(), job.Retention{Done: time.Hour, Bodies: -time.Hour, Failed: time.Hour}, 10); err != nil {
		t.Fatal(err)
	}
	ann.get(deliveryPath(sent)).want(t, http.StatusOK, "deleted by retention").lacks(t, "Send once more</button>")
	ann.post(deliveryPath(sent)+"/resend", nil).want(t, http.StatusConflict, "deleted by retention")
}

func TestOverviewOfObjectives(t *testing.T) {
	m := newMailRig(t)
	m.as("ann").get("/admin").want(t, http.StatusOK, "Objectives", "receipt", "99 % within 1 min", "6 h")
}
