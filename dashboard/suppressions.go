package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
)

const suppressionRoot = root + "/suppressions"

// suppressionsPerPage is how many entries a page lists.
const suppressionsPerPage = 50

// listQuery is which part of the list a page's address asks for.
type listQuery struct {
	Text     string // an address
	Category string // mail.AllMail for the entries that are for all mail
	Reason   mail.Reason
}

// readListQuery reads the address's query.
func readListQuery(r *http.Request) (q listQuery, f mail.SuppressionFilter, err error) {
	v := r.URL.Query()
	q = listQuery{strings.TrimSpace(v.Get("q")), strings.TrimSpace(v.Get("category")), mail.Reason(v.Get("reason"))}
	f = mail.SuppressionFilter{Category: q.Category, Reason: q.Reason, Limit: suppressionsPerPage + 1}
	if q.Text != "" {
		if f.Address, err = mail.Normalise(q.Text); err != nil {
			return q, f, job.Errorf(job.CodeInvalid, "the list is searched by whole addresses, user@example.com")
		}
	}
	if before := v.Get("before"); before != "" {
		if f.Before, err = strconv.ParseInt(before, 36, 64); err != nil || f.Before < 1 {
			return q, f, job.Errorf(job.CodeInvalid, "this is no page of the list")
		}
	}
	return q, f, nil
}

// link is the address of the same query with another reason or place.
func (q listQuery) link(path string, reason mail.Reason, before int64) string {
	v := url.Values{}
	for name, value := range map[string]string{"q": q.Text, "category": q.Category, "reason": string(reason)} {
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

type suppressionsView struct {
	listQuery
	Reasons []mail.Reason
	Entries []mail.Suppression
	Form    mail.Suppression // to add, as it was filled in
	Note    string           // what an act did
	Problem string           // why one was refused
	before  int64            // where this page begins
	older   int64            // where the next one does; 0 for none
}

// OfReason is the address of the same query among the entries of a reason.
func (v suppressionsView) OfReason(r mail.Reason) string { return v.link(suppressionRoot, r, 0) }

// Here is the address of this page.
func (v suppressionsView) Here() string { return v.link(suppressionRoot, v.Reason, v.before) }

// CSV is the address of what is asked for as a file.
func (v suppressionsView) CSV() string { return v.link(suppressionRoot+".csv", v.Reason, 0) }

// Older is the address of the page after this one, or empty.
func (v suppressionsView) Older() string {
	if v.older == 0 {
		return ""
	}
	return v.link(suppressionRoot, v.Reason, v.older)
}

// suppressionsPage lists who gets no mail, newest first, by what its address asks
// for.
func (d *Dashboard) suppressionsPage(w http.ResponseWriter, r *http.Request) {
	d.showSuppressions(w, r, http.StatusOK, suppressionsView{Note: acted(r.URL.Query())})
}

func (d *Dashboard) showSuppressions(w http.ResponseWriter, r *http.Request, status int, v suppressionsView) {
	q, f, err := readListQuery(r)
	if err == nil {
		v.Entries, err = d.Suppressions.List(r.Context(), f)
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	v.listQuery, v.before, v.Reasons = q, f.Before, mail.Reasons
	if len(v.Entries) > suppressionsPerPage { // one was asked for beyond the page
		v.Entries = v.Entries[:suppressionsPerPage]
		v.older = v.Entries[suppressionsPerPage-1].Seq
	}
	d.render(w, r, status, "suppressions.html", "Suppressions", v)
}

// acts are what leads back to the list with a count of what it did.
var acts = map[string]string{"added": "Added", "removed": "Removed", "imported": "Imported"}

// acted says what an act did that led to this page.
func acted(v url.Values) string {
	for name, did := range acts {
		if n, err := strconv.Atoi(v.Get(name)); err == nil && n >= 0 {
			return fmt.Sprintf("%s: %d.", did, n)
		}
	}
	return ""
}

// entryName names an entry in a form.
func entryName(s mail.Suppression) string {
	name, err := json.Marshal([]string{s.Address, s.Category, string(s.Reason)})
	if err != nil {
		return "" // strings are always JSON
	}
	return string(name)
}

// readEntry is what entryName names, as a filter that chooses it alone.
func readEntry(name string) (f mail.SuppressionFilter, err error) {
	var parts []string
	if json.Unmarshal([]byte(name), &parts) != nil || len(parts) != 3 || parts[0] == "" {
		return f, job.Errorf(job.CodeInvalid, "the form names no entry of the list")
	}
	f = mail.SuppressionFilter{Address: parts[0], Category: parts[1], Reason: mail.Reason(parts[2])}
	if f.Category == "" {
		f.Category = mail.AllMail
	}
	return f, nil
}

// exportSuppressions gives what is asked for as CSV that can be imported.
func (d *Dashboard) exportSuppressions(w http.ResponseWriter, r *http.Request) {
	if !userOf(r).Admin() {
		d.refuse(w, r, job.Errorf(job.CodeForbidden, "viewers see no addresses, and so may not export them"))
		return
	}
	_, f, err := readListQuery(r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	list, err := suppress.NewExport(r.Context(), d.Suppressions, f)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user exported the suppressions", "user", userOf(r).Name)
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="suppressions.csv"`)
	if err := list.Write(r.Context(), w, func() { patient(w) }); err != nil {
		d.log.Warn("an export ended early", "err", err)
		panic(http.ErrAbortHandler) // what is there must not look whole
	}
}
