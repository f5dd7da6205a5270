package dashboard

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
)

const keyRoot = root + "/keys"

// MadeKeys are the API keys that are made at run time; *apikey.Service has them.
type MadeKeys interface {
	Create(ctx context.Context, k apikey.Key, who auth.Principal) (made apikey.Key, secret string, err error)
	Revoke(ctx context.Context, name, actor string) error
	List(ctx context.Context) ([]apikey.Key, error)
}

// keyRow is an API key on the page.
type keyRow struct {
	apikey.Key
	Set    bool // by POSTRIDER_API_KEYS
	Quotas []limit.Quota
}

type keysView struct {
	Rows    []keyRow
	APIOpen bool // everybody on this machine may do everything
	Scopes  []auth.Scope

	// The form, as it was filled in.
	Name    string
	Chosen  []auth.Scope
	Expires string
	Problem string
	Bad     map[string]string

	Note   string
	Made   string // the name of a key that was just made
	Secret string // its secret
}

// Has reports whether a scope was chosen.
func (v keysView) Has(s auth.Scope) bool { return slices.Contains(v.Chosen, s) }

func (d *Dashboard) keysPage(w http.ResponseWriter, r *http.Request) {
	v := keysView{}
	if name := r.URL.Query().Get("revoked"); auth.ValidName(name) {
		v.Note = "The key " + name + " is revoked: within a second no process takes it any more."
	}
	d.showKeys(w, r, http.StatusOK, v)
}

func (d *Dashboard) showKeys(w http.ResponseWriter, r *http.Request, status int, v keysView) {
	made, err := d.MadeKeys.List(r.Context())
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	for _, k := range d.Keys.Set() {
		v.Rows = append(v.Rows, keyRow{Key: apikey.Key{Name: k.Name, Scopes: k.Scopes}, Set: true, Quotas: d.Quotas.Of(k.Name)})
	}
	for _, k := range made {
		v.Rows = append(v.Rows, keyRow{Key: k, Quotas: d.Quotas.Of(k.Name)})
	}
	v.APIOpen, v.Scopes = d.Keys.Open(), auth.AllScopes
	d.render(w, r, status, "keys.html", "API keys", v)
}

// createKey makes a key. Its secret is on the page that answers, and nowhere
// else: that page is no redirect, and asked for again it finds the name taken.
func (d *Dashboard) createKey(w http.ResponseWriter, r *http.Request) {
	user := userOf(r)
	if !user.Admin() {
		d.refuse(w, r, errViewer)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		d.refuse(w, r, job.Errorf(job.CodeInvalid, "the form cannot be read"))
		return
	}
	v := keysView{Name: strings.TrimSpace(r.PostForm.Get("name")), Expires: r.PostForm.Get("expires")}
	for _, s := range r.PostForm["scope"] {
		v.Chosen = append(v.Chosen, auth.Scope(s))
	}
	k := apikey.Key{Name: v.Name, Scopes: slices.Clone(v.Chosen)}
	var err error
	if v.Expires != "" {
		if k.ExpiresAt, err = time.Parse(sinceLayout, v.Expires); err != nil {
			v.Problem, v.Bad = "Not created: see the fields.", map[string]string{"expires_at": "must be a time such as 2026-07-01T18:00"}
			d.showKeys(w, r, http.StatusUnprocessableEntity, v)
			return
		}
	}
	// An admin of these pages may do everything.
	who := auth.Principal{Name: actor(user), Scopes: []auth.Scope{auth.Admin}}
	var secret string
	doing := d.act(w, r, audit.KeyCreate, k.Name)
	doing.Detail = k.May()
	err = d.Audit.Do(r.Context(), doing, func(ctx context.Context) (err error) {
		_, secret, err = d.MadeKeys.Create(ctx, k, who)
		return err
	})
	if code := job.CodeOf(err); code == job.CodeConflict || code == job.CodeInvalid {
		status, message := d.told(r, err)
		v.Problem = "Not created: " + message + "."
		var e *job.Error
		if errors.As(err, &e) && len(e.Fields) > 0 {
			v.Problem, v.Bad = "Not created: see the fields.", map[string]string{}
			for _, f := range e.Fields {
				v.Bad[f.Field] = f.Problem
			}
		}
		d.showKeys(w, r, status, v)
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user created an API key", "user", user.Name, "key", k.Name)
	d.showKeys(w, r, http.StatusCreated, keysView{Made: k.Name, Secret: secret})
}

// revokeKey ends a key.
func (d *Dashboard) revokeKey(w http.ResponseWriter, r *http.Request) {
	user, name := userOf(r), r.PathValue("name")
	if !user.Admin() {
		d.refuse(w, r, errViewer)
		return
	}
	err := d.Audit.Do(r.Context(), d.act(w, r, audit.KeyRevoke, name), func(ctx context.Context) error {
		return d.MadeKeys.Revoke(ctx, name, actor(user))
	})
	if job.CodeOf(err) == job.CodeConflict {
		status, message := d.told(r, err)
		d.showKeys(w, r, status, keysView{Problem: message})
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.log.Info("a user revoked an API key", "user", user.Name, "key", name)
	http.Redirect(w, r, keyRoot+"?revoked="+name, http.StatusSeeOther)
}
