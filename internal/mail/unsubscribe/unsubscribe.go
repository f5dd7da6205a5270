// Package unsubscribe serves what a mail's link to unsubscribe leads to: a page
// for people, and the one click of RFC 8058 for mail programs.
//
// To look changes nothing: link scanners and mail programs fetch every link of a
// mail. Only a POST acts.
package unsubscribe

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
)

// Jobs has the history of the mails that brought the links; a *job.Service does.
type Jobs interface {
	Tell(ctx context.Context, id job.ID, kind job.EventKind, message string) error
}

// Options are what the pages are made of; all are needed.
type Options struct {
	Links        *mail.Links // nil: there are no links, and every token is unknown
	Suppressions mail.Suppressions
	Jobs         Jobs
	Limiter      *limit.Limiter
	Log          *slog.Logger
}

const (
	// maxForm bounds a form, in bytes: its longest is List-Unsubscribe=One-Click
	// as multipart/form-data, which RFC 8058 section 3.2 allows too.
	maxForm = 4 << 10
	// workLimit bounds the work on a request.
	workLimit = 10 * time.Second
)

// perAddress is how often one client may ask. A large mail provider sends the
// clicks of many people from few addresses.
var perAddress = limit.Rate{N: 600, Per: time.Minute}

type pages struct {
	Options
	rate limit.Rate // of one client
	log  *slog.Logger
}

// Handler serves GET and POST of any path that ends in a link's token. Tokens,
// which tell an address to who decodes them, are not logged.
func Handler(o Options) http.Handler {
	return &pages{Options: o, rate: perAddress, log: o.Log.With("component", "unsubscribe")}
}

// view is what the page shows.
type view struct {
	Title, Text string
	Button      string // none without a word on it
	Undo        bool
}

var (
	//go:embed page.html
	source string
	page   = template.Must(template.New("unsubscribe").Parse(source))

	unknown = view{Title: "This link is not valid", Text: "It may have been cut off: open it in full from the mail."}
	away    = view{Title: "That did not work", Text: "Please try again in a few minutes."}
	busy    = view{Title: "Too many requests", Text: "Please try again in a minute."}
	strange = view{Title: "This request cannot be read"}
)

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer") // the path is a right to act
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	ctx, cancel := context.WithTimeout(r.Context(), workLimit)
	defer cancel()

	if d, err := p.Limiter.Allow(ctx, "unsubscribe:"+limit.ClientAddr(r), p.rate, 1); err != nil || !d.Allowed {
		h.Set("Retry-After", "60")
		p.show(w, http.StatusTooManyRequests, busy)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		h.Set("Allow", "GET, HEAD, POST")
		p.show(w, http.StatusMethodNotAllowed, strange)
		return
	}
	s, known := p.read(path.Base(r.URL.Path))
	if !known {
		p.show(w, http.StatusNotFound, unknown)
		return
	}
	out, err := p.answer(ctx, w, r, s)
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		p.show(w, http.StatusRequestEntityTooLarge, strange)
	case errors.Is(err, errForm):
		p.show(w, http.StatusBadRequest, strange)
	case err != nil:
		p.log.ErrorContext(ctx, "an unsubscription failed", "job", s.Job, "err", err)
		h.Set("Retry-After", "60")
		p.show(w, http.StatusServiceUnavailable, away)
	default:
		p.show(w, http.StatusOK, out)
	}
}

func (p *pages) read(token string) (mail.Subscription, bool) {
	if p.Links == nil {
		return mail.Subscription{}, false
	}
	return p.Links.Read(token)
}

// errForm is that of a POST whose form cannot be read.
var errForm = errors.New("the form cannot be read")

func (p *pages) answer(ctx context.Context, w http.ResponseWriter, r *http.Request, s mail.Subscription) (view, error) {
	gone, err := p.unsubscribed(ctx, s)
	if err != nil {
		return view{}, err
	}
	title := "You are unsubscribed"
	if r.Method == http.MethodPost {
		undo, err := wantsUndo(w, r)
		if err != nil {
			return view{}, err
		}
		if gone == undo {
			err = p.set(ctx, s, !undo)
		} else { // it is as it is wanted to be
			title = "You are unsubscribed already"
		}
		if err != nil {
			return view{}, err
		}
		gone = !undo
	}
	what := fmt.Sprintf("mails of the kind “%s”", s.Category)
	if gone {
		return view{Title: title, Text: masked(s.Address) + " gets no more " + what + ".", Button: "Subscribe again", Undo: true}, nil
	}
	return view{Title: "Unsubscribe?", Text: masked(s.Address) + " gets " + what + ".", Button: "Unsubscribe"}, nil
}

// wantsUndo reads the form. That of a mail program says List-Unsubscribe, that
// of our page nothing, or undo.
func wantsUndo(w http.ResponseWriter, r *http.Request) (bool, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm() // first: ParseMultipartForm does not tell its error
	if err == nil {
		err = r.ParseMultipartForm(maxForm)
	}
	if errors.Is(err, http.ErrNotMultipart) {
		err = nil
	}
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return false, err
	case err != nil:
		return false, fmt.Errorf("%w: %w", errForm, err)
	}
	return r.PostForm.Get("undo") != "", nil
}

func (p *pages) unsubscribed(ctx context.Context, s mail.Subscription) (bool, error) {
	found, err := p.Suppressions.Find(ctx, s.Address)
	if err != nil {
		return false, fmt.Errorf("looking for the subscription: %w", err)
	}
	for _, one := range found {
		if one.Category == s.Category && one.Reason == mail.Unsubscribe {
			return true, nil
		}
	}
	return false, nil
}

// set unsubscribes, and tells the job that brought the link if it is still
// there, or takes that back. Twice at a time does no harm.
func (p *pages) set(ctx context.Context, s mail.Subscription, gone bool) error {
	if !gone {
		_, err := p.Suppressions.Unsuppress(ctx, mail.SuppressionFilter{Address: s.Address, Category: s.Category, Reason: mail.Unsubscribe})
		if err != nil {
			return fmt.Errorf("taking the unsubscription back: %w", err)
		}
		return nil
	}
	err := p.Suppressions.Suppress(ctx, mail.Suppression{Address: s.Address, Category: s.Category, Reason: mail.Unsubscribe, Job: s.Job})
	if err != nil {
		return fmt.Errorf("writing the unsubscription: %w", err)
	}
	err = p.Jobs.Tell(ctx, job.ID(s.Job), job.EventUnsubscribed, "from "+s.Category)
	if err != nil && job.CodeOf(err) != job.CodeNotFound {
		// What was asked for is done; only the history lacks it.
		p.log.WarnContext(ctx, "a job's history could not be written", "job", s.Job, "err", err)
	}
	return nil
}

// masked is an address as its owner knows it and others do not: the mail may
// have been passed on.
func masked(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	runes := []rune(local)
	return string(runes[:min(1, len(runes))]) + "…@" + domain
}

func (p *pages) show(w http.ResponseWriter, status int, v view) {
	var body bytes.Buffer
	if err := page.Execute(&body, v); err != nil {
		p.log.Error("a page could not be rendered", "err", err)
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // who cannot be told has gone
}
