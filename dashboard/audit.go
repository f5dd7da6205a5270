package dashboard

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
)

const auditRoot = root + "/audit"

// auditPerPage is how many records a page lists.
const auditPerPage = 50

// act is what the user of a request is about to do to one thing, for the audit.
func (d *Dashboard) act(w http.ResponseWriter, r *http.Request, action audit.Action, target string) audit.Act {
	return audit.Act{
		Actor: actor(userOf(r)), Address: limit.ClientAddr(r), Request: w.Header().Get("X-Request-Id"),
		Action: action, Target: target, Count: 1,
	}
}

// errAuditors refuses viewers: what people did to whom is not for everybody.
var errAuditors = job.Errorf(job.CodeForbidden, "the audit is for admins")

// sinceLayout is what a browser makes of <input type="datetime-local">; it is UTC,
// as everything on the pages.
const sinceLayout = "2006-01-02T15:04"

// auditQuery is which part of the audit a page's address asks for.
type auditQuery struct {
	Who    string
	Action audit.Action
	Target string
	Since  time.Time
}

func readAuditQuery(r *http.Request) (q auditQuery, f audit.Filter, err error) {
	v := r.URL.Query()
	q = auditQuery{Who: strings.TrimSpace(v.Get("who")), Action: audit.Action(v.Get("action")), Target: strings.TrimSpace(v.Get("target"))}
	if since := v.Get("since"); since != "" {
		if q.Since, err = time.Parse(sinceLayout, since); err != nil {
			return q, f, job.Errorf(job.CodeInvalid, "since must be a day and a time, as 2026-11-22T22:30")
		}
	}
	f = audit.Filter{Actor: q.Who, Action: q.Action, Target: q.Target, Since: q.Since, Limit: auditPerPage + 1}
	if before := v.Get("before"); before != "" {
		if f.Before, err = strconv.ParseInt(before, 36, 64); err != nil || f.Before < 1 {
			return q, f, job.Errorf(job.CodeInvalid, "this is no page of the audit")
		}
	}
	return q, f, nil
}

// link is the address of the same query at another place.
func (q auditQuery) link(path string, before int64) string {
	v := url.Values{}
	for name, value := range map[string]string{"who": q.Who, "action": string(q.Action), "target": q.Target, "since": q.SinceText()} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if before > 0 {
		v.Set("before", strconv.FormatInt(before, 36))
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// SinceText is Since as its field has it.
func (q auditQuery) SinceText() string {
	if q.Since.IsZero() {
		return ""
	}
	return q.Since.Format(sinceLayout)
}

type auditView struct {
	auditQuery
	Actions []audit.Action
	Records []auditRecord
	older   int64 // where the next page begins; 0 for none
}

type auditRecord struct{ audit.Record }

// Hidden says that the record names a person by a hash.
func (r auditRecord) Hidden() bool { return strings.HasPrefix(r.Target, mail.ErasedPrefix) }

// Link is the page of what the record is about, or empty.
func (r auditRecord) Link() string {
	if id, err := job.ParseID(r.Target); err == nil {
		return jobPath(id)
	}
	return ""
}

// CSV is the address of what is asked for as a file.
func (v auditView) CSV() string { return v.link(auditRoot+".csv", 0) }

// Older is the address of the page after this one, or empty.
func (v auditView) Older() string {
	if v.older == 0 {
		return ""
	}
	return v.link(auditRoot, v.older)
}

// auditPage lists what operators and keys did, newest first, by what its address
// asks for.
func (d *Dashboard) auditPage(w http.ResponseWriter, r *http.Request) {
	q, f, err := d.auditFilter(r)
	var found []audit.Record
	if err == nil {
		found, err = d.Audit.List(r.Context(), f)
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	v := auditView{auditQuery: q, Actions: audit.Actions}
	if len(found) > auditPerPage { // one was asked for beyond the page
		found = found[:auditPerPage]
		v.older = found[auditPerPage-1].Seq
	}
	for _, record := range found {
		v.Records = append(v.Records, auditRecord{record})
	}
	d.render(w, r, http.StatusOK, "audit.html", "Audit", v)
}

func (d *Dashboard) auditFilter(r *http.Request) (auditQuery, audit.Filter, error) {
	if !userOf(r).Admin() {
		return auditQuery{}, audit.Filter{}, errAuditors
	}
	return readAuditQuery(r)
}

// exportAudit gives what is asked for as CSV.
func (d *Dashboard) exportAudit(w http.ResponseWriter, r *http.Request) {
	_, f, err := d.auditFilter(r)
	var list *audit.Export
	if err == nil {
		list, err = audit.NewExport(r.Context(), d.Audit, f)
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user exported the audit", "user", userOf(r).Name)
	w.Header().Set("Content-Type", audit.CSV.ContentType())
	w.Header().Set("Content-Disposition", `attachment; filename="`+audit.CSV.FileName(d.Clock())+`"`)
	if err := list.Write(r.Context(), w, audit.CSV, func() { patient(w) }); err != nil {
		d.log.Warn("an export ended early", "err", err)
		panic(http.ErrAbortHandler) // what is there must not look whole
	}
}
