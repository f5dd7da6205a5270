package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/audit/audittest"
	"github.com/postrider/postrider/internal/testkit"
)

// audited is what the dashboard's audit has, oldest first, less the logins that
// tests begin with.
func (r *rig) audited() (out []string) {
	r.t.Helper()
	all, err := r.Audit.List(r.t.Context(), audit.Filter{Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, a := range slices.Backward(all) {
		if a.Action != audit.Login {
			out = append(out, fmt.Sprintf("%s %s %d %s", a.Actor, a.Action, a.Count, a.Outcome))
		}
	}
	return out
}

func (r *rig) wantAudited(want ...string) {
	r.t.Helper()
	if got := r.audited(); !slices.Equal(got, want) {
		r.t.Errorf("the audit has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAuditPage(t *testing.T) {
	m := newMailRig(t)
	ann, bob := m.as("ann"), m.as("bob")
	id := m.put("reader@example.com", "Hello", "", time.Hour)
	ann.post(jobPath(id)+"/cancel", nil).want(t, http.StatusSeeOther)
	ann.post(jobPath(id)+"/run", nil).want(t, http.StatusConflict)
	bob.post(jobPath(id)+"/retry", nil).want(t, http.StatusForbidden)
	ann.post(suppressionRoot+"/add", url.Values{"address": {"gone@example.com"}, "reason": {"manual"}}).want(t, http.StatusSeeOther)
	ann.post(deliveryPath(id)+"/resend", url.Values{"once": {"1"}}).want(t, http.StatusSeeOther)
	m.wantAudited("dashboard:ann job.cancel 1 done", "dashboard:ann job.run 0 conflict", "dashboard:ann suppression.add 1 done",
		"dashboard:ann job.resend 1 begun", "dashboard:ann job.resend 1 done")

	ann.get(auditRoot).want(t, http.StatusOK, "dashboard:ann", "job.cancel", jobPath(id), "a person", "conflict", "127.0.0.1", `aria-current="page">Audit</a>`).lacks(t, "gone@example.com")
	for query, c := range map[string]struct{ has, lacks string }{
		"?target=Gone@Example.com":          {"a person", "<span>job.cancel"},
		"?target=" + string(id):             {"<span>job.cancel", "a person"},
		"?action=job.run":                   {"conflict", "a person"},
		"?who=dashboard:bob&action=login":   {"dashboard:bob", "<span>dashboard:ann"},
		"?who=nobody":                       {"No records", "<span>job.cancel"},
		"?since=2020-01-01T00:00":           {"<span>job.cancel", "No records"},
		"?since=2999-01-01T00:00&who=nobod": {"No records", "<span>job.cancel"},
	} {
		ann.get(auditRoot+query).want(t, http.StatusOK, c.has).lacks(t, c.lacks)
	}
	ann.get(auditRoot+"?since=now").want(t, http.StatusUnprocessableEntity)
	ann.get(auditRoot+"?before=0").want(t, http.StatusUnprocessableEntity)
	ann.get(auditRoot+".csv?action=job.cancel").want(t, http.StatusOK, "seq,at,actor", "dashboard:ann,127.0.0.1,job.cancel,"+string(id))
	for _, path := range []string{auditRoot, auditRoot + ".csv"} {
		bob.get(path).want(t, http.StatusForbidden, "for admins")
		m.anonymous().get(path).want(t, http.StatusSeeOther)
	}
	bob.get(root).want(t, http.StatusOK).lacks(t, auditRoot)
}

func TestAuditPages(t *testing.T) {
	r := newRig(t)
	ann := r.as("ann")
	for range auditPerPage + 1 {
		if err := r.Audit.Write(t.Context(), audit.Record{Act: audit.Act{Actor: "shop", Action: audit.JobRun}, Outcome: audit.Done}); err != nil {
			t.Fatal(err)
		}
	}
	ann.get(auditRoot+"?action=login").want(t, http.StatusOK, "No records").lacks(t, "Older records")
	ann.get(auditRoot).want(t, http.StatusOK, `href="/admin/audit?before=2"`)
	ann.get(auditRoot+"?before=2").want(t, http.StatusOK, "<span>job.run").lacks(t, "Older records")
}

// What asynqmon's pages do is recorded, whatever it is done to.
func TestQueueActsAreAudited(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	c.api(http.MethodPost, "queues/email:pause", "").want(t, http.StatusNoContent)
	c.api(http.MethodPost, "queues/email:resume", "").want(t, http.StatusNoContent)
	task := r.accept(mailTo("a@example.com", time.Hour))
	other := r.accept(mailTo("b@example.com", time.Hour))
	c.api(http.MethodPost, "queues/email/scheduled_tasks/"+task.TaskID()+":archive", "").want(t, http.StatusNoContent)
	c.api(http.MethodPost, "queues/email/scheduled_tasks:batch_delete", `{"task_ids":["`+other.TaskID()+`","none"]}`).want(t, http.StatusOK)
	r.wantAudited("dashboard:ann queue.pause 1 begun", "dashboard:ann queue.pause 1 done", "dashboard:ann queue.resume 1 begun", "dashboard:ann queue.resume 1 done",
		"dashboard:ann task.archive 1 begun", "dashboard:ann task.archive 1 done", "dashboard:ann task.delete 2 begun", "dashboard:ann task.delete 1 not_found")
}

func TestNothingIsDoneUnrecorded(t *testing.T) {
	m := &audittest.Memory{}
	r := newRig(t, func(o *Options) { o.Audit = audit.New(m, testkit.Logger(t)) })
	c := r.as("ann")
	task := r.accept(mailTo("a@example.com", time.Hour))
	m.Fail(errors.New("away"))
	c.api(http.MethodPost, "queues/email:pause", "").want(t, http.StatusServiceUnavailable)
	c.api(http.MethodDelete, "queues/email/scheduled_tasks/"+task.TaskID(), "").want(t, http.StatusServiceUnavailable)
	c.api(http.MethodDelete, "queues/email/scheduled_tasks:delete_all", "").want(t, http.StatusServiceUnavailable)
	c.api(http.MethodPost, "queues/email/scheduled_tasks:batch_delete", `{"task_ids":[]}`).want(t, http.StatusServiceUnavailable)
	r.anonymous().post("/admin/login", credentials("ann", password, root)).want(t, http.StatusServiceUnavailable)
	m.Fail(nil)
	r.wantAudited()
	if j := r.find(task.ID); j.State.Final() {
		t.Errorf("the job is %s", j.State)
	}
}

func TestLoginsAreAudited(t *testing.T) {
	r := newRig(t)
	c := r.anonymous()
	c.post("/admin/login", credentials("ann", "wrong", root)).want(t, http.StatusUnauthorized)
	c.post("/admin/login", credentials(password, "wrong", root)).want(t, http.StatusUnauthorized)
	c.post("/admin/login", credentials("ann", password, root)).want(t, http.StatusSeeOther)
	if err := r.Audit.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := r.Audit.List(t.Context(), audit.Filter{Limit: 10})
	if err != nil || len(all) != 2 {
		t.Fatalf("the audit has %+v: %v", all, err)
	}
	if a := all[1]; a.Action != audit.Login || a.Actor != "dashboard:ann" || a.Address != "127.0.0.1" {
		t.Errorf("the login is %+v", a)
	}
	if a := all[0]; a.Action != audit.LoginFailed || a.Count != 2 || a.Address != "127.0.0.1" || strings.Contains(fmt.Sprint(a), password) {
		t.Errorf("the failed ones are %+v", a)
	}
}
