package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
)

// pages are the templates; each page fills the layout's body.
var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"clock":   clock,
	"span":    span,
	"grouped": grouped,
	"percent": func(share float64) string { return strconv.FormatFloat(100*share, 'f', -1, 64) + " %" },
	"brief":   func(d time.Duration) string { return strings.TrimSuffix(strings.TrimSuffix(span(d), " 0 s"), " 0 min") },
	"entry":   entryName,
	"erased":  func(address string) bool { return strings.HasPrefix(address, mail.ErasedPrefix) },
	"next":    func(n int) int { return n + 1 },
	"base36":  func(n int64) string { return strconv.FormatInt(n, 36) },
	"short":   func(id job.ID) string { return string(id[max(0, len(id)-8):]) },
}).ParseFS(embedded, "assets/*.html"))

// page is what every template is given.
type page struct {
	Title string
	User  auth.User
	Open  bool
	Path  string // of the request, for the navigation
	Admin bool
	Data  any
}

// Shown is text as the page's reader may see it.
func (p page) Shown(text string) string { return shown(p.User, text) }

// With is the page about other data, for a template in a template.
func (p page) With(data any) page {
	p.Data = data
	return p
}

// At reports whether the page lies in a section of the navigation.
func (p page) At(section string) bool {
	return p.Path == section || section != root && strings.HasPrefix(p.Path, section+"/")
}

// render builds the page whole before the first byte goes out.
func (d *Dashboard) render(w http.ResponseWriter, r *http.Request, status int, name, title string, data any) {
	user := userOf(r)
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, page{
		Title: title, User: user, Open: d.isOpen(), Path: r.URL.Path, Admin: user.Admin(), Data: data,
	}); err != nil {
		d.log.Error("a page could not be rendered", "page", name, "err", err)
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a browser that has left needs no page
}

// renderPart builds a template that is a part of a page, for a page's script.
func (d *Dashboard) renderPart(w http.ResponseWriter, name string, data any) {
	var part bytes.Buffer
	if err := pages.ExecuteTemplate(&part, name, data); err != nil {
		d.log.Error("a part of a page could not be rendered", "part", name, "err", err)
		http.Error(w, "it cannot be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(part.Bytes()) // a browser that has left needs it no more
}

// statuses translates the domain's codes; what is missing is internal.
var statuses = map[job.Code]int{
	job.CodeInvalid:      http.StatusUnprocessableEntity,
	job.CodeNotFound:     http.StatusNotFound,
	job.CodeConflict:     http.StatusConflict,
	job.CodeUnauthorized: http.StatusUnauthorized,
	job.CodeForbidden:    http.StatusForbidden,
	job.CodeTemporary:    http.StatusServiceUnavailable,
}

// told is an error's status and what its reader is told; the rest is logged.
func (d *Dashboard) told(r *http.Request, err error) (int, string) {
	if status, ok := statuses[job.CodeOf(err)]; ok {
		var e *job.Error
		if errors.As(err, &e) {
			if e.Err != nil {
				d.log.Warn("a page could not do what it was asked", "path", r.URL.Path, "err", err)
			}
			if e.Message == "" {
				return status, e.Fields.Error()
			}
			return status, e.Message
		}
	}
	if errors.Is(err, context.Canceled) {
		return http.StatusServiceUnavailable, "the browser left"
	}
	d.log.Error("a page failed", "path", r.URL.Path, "err", err)
	return http.StatusInternalServerError, "something went wrong; the log says what"
}

// refuse answers with an error: a page for people, a line for asynqmon, which
// shows it.
func (d *Dashboard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, message := d.told(r, err)
	if strings.HasPrefix(r.URL.Path, queueRoot+"/api/") {
		http.Error(w, shown(userOf(r), message), status)
		return
	}
	d.render(w, r, status, "refused.html", http.StatusText(status), message)
}

// clock is a time for people, in UTC as everything on the pages.
func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// grouped is a number with its digits in groups: 1,284.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// span is a duration for people, of its two greatest units.
func span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Truncate(time.Second).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
