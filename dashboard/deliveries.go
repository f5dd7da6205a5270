package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
)

// Deliveries is what the pages about mails need; *delivery.Service has it.
type Deliveries interface {
	Search(ctx context.Context, q delivery.Query) ([]delivery.Told, error)
	Story(ctx context.Context, id job.ID) (delivery.Story, error)
	Export(ctx context.Context, q delivery.Query, each func(delivery.Told) error) error
	Burns(ctx context.Context) ([]delivery.Burn, error)

	Resend(ctx context.Context, id job.ID, actor, once string) (job.ID, error)
	Suppress(ctx context.Context, id job.ID, actor string) error
	Cancel(ctx context.Context, id job.ID, actor string) error
}

const deliveryRoot = root + "/deliveries"

func deliveryPath(id job.ID) string { return deliveryRoot + "/" + string(id) }

// search is what the page's address asks for.
type search struct {
	Text, State, Template, Category, Since, Until string
}

// errSubject refuses a viewer's search by what only admins may see.
var errSubject = job.Errorf(job.CodeForbidden, "viewers search by address, id or Message-ID: what mails are about only admins may see")

// readSearch reads the address's query. id is set where one job is named.
func readSearch(r *http.Request) (s search, q delivery.Query, id job.ID, err error) {
	v := r.URL.Query()
	s = search{
		Text: strings.TrimSpace(v.Get("q")), State: v.Get("state"), Template: v.Get("template"), Category: v.Get("category"),
		Since: v.Get("since"), Until: v.Get("until"),
	}
	if q, id = delivery.Read(s.Text); id != "" {
		return s, q, id, nil
	}
	if q.Subject != "" && !userOf(r).Admin() {
		return s, q, "", errSubject
	}
	q.Status, q.Template, q.Category, q.Limit = s.State, s.Template, s.Category, jobsPerPage+1
	for _, t := range []struct {
		text string
		into *time.Time
		days int // until names the last day
	}{{s.Since, &q.Since, 0}, {s.Until, &q.Until, 1}} {
		if t.text == "" {
			continue
		}
		day, err := time.Parse(time.DateOnly, t.text)
		if err != nil {
			return s, q, "", job.Errorf(job.CodeInvalid, "a day is written as 2026-07-01")
		}
		*t.into = day.AddDate(0, 0, t.days)
	}
	if before := v.Get("before"); before != "" {
		q.Before, err = job.ParseID(before)
	}
	return s, q, "", err
}

// link is the address of the same search with another state or place.
func (s search) link(path, state string, before job.ID) string {
	v := url.Values{}
	for name, value := range map[string]string{
		"q": s.Text, "state": state, "template": s.Template, "category": s.Category, "since": s.Since, "until": s.Until, "before": string(before),
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// OfState is the address of the same search among the mails of a state.
func (v deliveriesView) OfState(state string) string { return v.link(deliveryRoot, state, "") }

// Older is the address of the page after this one, or empty.
func (v deliveriesView) Older() string {
	if v.older == "" {
		return ""
	}
	return v.link(deliveryRoot, v.State, v.older)
}

// CSV is the address of the search as a file.
func (v deliveriesView) CSV() string { return v.link(deliveryRoot+".csv", v.State, "") }

type deliveriesView struct {
	search
	States []string
	Mails  []delivery.Told
	older  job.ID
}

// deliveriesPage lists mails, newest first, by what its address asks for. An id
// or a Message-ID leads to its mail at once.
func (d *Dashboard) deliveriesPage(w http.ResponseWriter, r *http.Request) {
	s, q, id, err := readSearch(r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if id != "" {
		http.Redirect(w, r, deliveryPath(id), http.StatusSeeOther)
		return
	}
	v := deliveriesView{search: s, States: listStates}
	if v.Mails, err = d.Deliveries.Search(r.Context(), q); err != nil {
		d.refuse(w, r, err)
		return
	}
	if len(v.Mails) > jobsPerPage { // one was asked for beyond the page
		v.Mails = v.Mails[:jobsPerPage]
		v.older = v.Mails[jobsPerPage-1].ID
	}
	d.render(w, r, http.StatusOK, "deliveries.html", "Deliveries", v)
}

type deliveryView struct {
	delivery.Story
	Once    string // names this showing of the page: its Resend is carried out once
	Problem string // why a command was refused
	Note    string // what a command did
}

// Cancellable, and so on, say which commands make sense now; the domain
// decides.
func (v deliveryView) Cancellable() bool { return !v.State.Final() && !v.CancelRequested }

// Resendable says whether the mail can be sent once more.
func (v deliveryView) Resendable() bool { return v.State.Final() && !v.PayloadGone }

// Suppressible says whether it is for an address that can be suppressed.
func (v deliveryView) Suppressible() bool { return strings.Contains(v.Recipient, "@") }

// Live says whether the page should look again by itself.
func (v deliveryView) Live() bool { return !v.State.Final() }

func (d *Dashboard) deliveryPage(w http.ResponseWriter, r *http.Request) {
	id, err := job.ParseID(r.PathValue("id"))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	note := ""
	if r.URL.Query().Has("suppressed") {
		note = "The address gets no mail any more."
	}
	d.showDelivery(w, r, id, http.StatusOK, deliveryView{Note: note})
}

func (d *Dashboard) showDelivery(w http.ResponseWriter, r *http.Request, id job.ID, status int, v deliveryView) {
	var err error
	if v.Story, err = d.Deliveries.Story(r.Context(), id); err != nil {
		d.refuse(w, r, err)
		return
	}
	v.Once = strconv.Itoa(len(v.Events)) // sending it once more adds one
	d.render(w, r, status, "delivery.html", "Mail "+string(id), v)
}

// deliveryCommand carries out what a mail's page was asked for.
func (d *Dashboard) deliveryCommand(w http.ResponseWriter, r *http.Request) {
	user := userOf(r)
	id, err := job.ParseID(r.PathValue("id"))
	if err == nil && !user.Admin() {
		err = errViewer
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	command, next := r.PathValue("command"), deliveryPath(id)
	switch command {
	case "resend":
		err = d.Audit.Steps(r.Context(), d.act(w, r, audit.JobResend, string(id)), audit.One(func(ctx context.Context) error {
			made, err := d.Deliveries.Resend(ctx, id, actor(user), r.PostFormValue("once"))
			next = deliveryPath(made)
			return err
		}))
	case "cancel":
		err = d.Audit.Do(r.Context(), d.act(w, r, audit.JobCancel, string(id)), func(ctx context.Context) error {
			return d.Deliveries.Cancel(ctx, id, actor(user))
		})
	case "suppress":
		// By the mail: the address is the domain's to read.
		err = d.Audit.Do(r.Context(), d.act(w, r, audit.SuppressionAdd, string(id)), func(ctx context.Context) error {
			return d.Deliveries.Suppress(ctx, id, actor(user))
		})
		next += "?suppressed"
	default:
		err = job.Errorf(job.CodeNotFound, "there is no such command")
	}
	if code := job.CodeOf(err); code == job.CodeConflict || code == job.CodeInvalid {
		status, message := d.told(r, err)
		d.showDelivery(w, r, id, status, deliveryView{Problem: message})
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user acted on a mail", "user", user.Name, "command", command, "job", id)
	http.Redirect(w, r, next, http.StatusSeeOther)
}
