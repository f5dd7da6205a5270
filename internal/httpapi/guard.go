package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
)

// Bounds of a body, in bytes.
const (
	maxBody      = 1 << 20
	maxBatchBody = 16 << 20
)

// scopeKey is where an operation's metadata holds the scopes of which it needs
// one.
const scopeKey = "scope"

// clientAddress finds the address that a request comes from, for
// limit.ClientAddr. X-Forwarded-For is read from the right, and as far only as
// trusted proxies wrote it; without any the connection's own address counts.
func clientAddress(trusted Proxies) func(http.Handler) http.Handler {
	if len(trusted) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	prefixes := make([]string, len(trusted))
	for i, p := range trusted {
		prefixes[i] = p.String()
	}
	return middleware.ClientIPFromXFF(prefixes...)
}

// OnlyLocalHost refuses requests that name a host other than this machine or
// that of publicURL, which may be empty: see auth.LocalHost.
func OnlyLocalHost(publicURL string) func(http.Handler) http.Handler {
	public := ""
	if u, err := url.Parse(publicURL); err == nil {
		public = u.Hostname()
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host := (&url.URL{Host: r.Host}).Hostname()
			ours := auth.LocalHost(r.Host) || public != "" && strings.EqualFold(host, public)
			if !ours {
				newProblem(http.StatusForbidden, job.CodeForbidden, "what is served here without a login answers to localhost and loopback addresses only, "+
					"and to the host of POSTRIDER_PUBLIC_URL; the request names another host").write(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// noStore is the header of answers that name recipients.
var noStore = []string{"no-store"}

// keepPrivate keeps answers, which name recipients, out of caches.
func keepPrivate(ctx huma.Context, next func(huma.Context)) {
	_, w := humachi.Unwrap(ctx)
	h := w.Header()
	h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
	next(ctx)
}

// limitAddress spends the address's budget. It stands before authenticate, so
// that keys cannot be guessed at leisure.
func (a *api) limitAddress(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	if !a.rates.Addr.Off() {
		if err := a.spend(ctx.Context(), w, "address", "addr:"+limit.ClientAddr(r), a.rates.Addr); err != nil {
			a.refuse(ctx, err)
			return
		}
	}
	next(ctx)
}

// limitKey spends the budget of the API key.
func (a *api) limitKey(ctx huma.Context, next func(huma.Context)) {
	if !a.rates.Key.Off() {
		who, _ := auth.From(ctx.Context())
		_, w := humachi.Unwrap(ctx)
		if err := a.spend(ctx.Context(), w, "key", "key:"+who.Name, a.rates.Key); err != nil {
			a.refuse(ctx, err)
			return
		}
	}
	next(ctx)
}

// authenticate finds out who asks.
func (a *api) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, _ := humachi.Unwrap(ctx)
	who, err := a.caller(r)
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	x := exchangeOf(ctx.Context())
	x.who, x.addr = who.Name, limit.ClientAddr(r)
	if who.User != nil {
		x.who = "a user" // whose id may be an address
	}
	next(huma.WithContext(ctx, auth.With(ctx.Context(), who)))
}

// errRevoked is of a token that somebody has revoked.
var errRevoked = fmt.Errorf("%w: it was revoked", auth.ErrToken)

// caller returns who sends the request. Whether a user's token was revoked Redis
// alone knows: while it is away users wait, and API keys do not.
func (a *api) caller(r *http.Request) (auth.Principal, error) {
	who, err := a.callers.Authenticate(r)
	if err == nil && who.User != nil {
		var revoked bool
		if revoked, err = a.live.IsRevoked(r.Context(), *who.User); err != nil {
			return auth.Principal{}, job.Wrap(job.CodeTemporary, err, "tokens cannot be checked now")
		}
		if revoked {
			err = errRevoked
		}
	}
	if err != nil {
		return auth.Principal{}, a.unknownCaller(r.Context(), err)
	}
	return who, nil
}

// unknownCaller words an error of Callers.Authenticate.
func (a *api) unknownCaller(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, auth.ErrUnauthorized):
		return job.Wrap(job.CodeUnauthorized, err, "a valid API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")
	case errors.Is(err, auth.ErrToken):
		a.log.Debug("a token was refused", "request_id", exchangeOf(ctx).id, "err", err)
		return job.Wrap(job.CodeUnauthorized, err, "the token is not valid, or not any more")
	case errors.Is(err, auth.ErrNoKeys):
		return job.Wrap(job.CodeTemporary, err, "tokens cannot be checked now")
	}
	return err
}

// authorize lets through who has a scope of the operation's, and users where it
// is for them.
func (a *api) authorize(ctx huma.Context, next func(huma.Context)) {
	scopes, _ := ctx.Operation().Metadata[scopeKey].([]auth.Scope)
	who, _ := auth.From(ctx.Context())
	forUsers, _ := ctx.Operation().Metadata[usersKey].(bool)
	if !slices.ContainsFunc(scopes, who.May) && !(forUsers && who.User != nil) {
		a.refuse(ctx, job.Errorf(job.CodeForbidden, "this needs an API key with the scope %s", joined(scopes)))
		return
	}
	next(ctx)
}

func joined(scopes []auth.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, " or ")
}

// bufferBody reads the body for an operation that huma serves, see withBody.
func (a *api) bufferBody(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	body, err := takeBody(w, r, ctx.Operation().MaxBodyBytes-1)
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	next(ctx)
}

// bufferCSV is bufferBody for CSV.
func (a *api) bufferCSV(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	body, err := takeBodyOf(mediaCSV, w, r, ctx.Operation().MaxBodyBytes-1)
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	next(ctx)
}

// The media types of bodies.
const (
	mediaJSON = "application/json"
	mediaCSV  = "text/csv"
)

// takeBody reads a body of JSON, of at most that many bytes.
func takeBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	return takeBodyOf(mediaJSON, w, r, most)
}

func takeBodyOf(media string, w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	body, err := readBody(media, w, r, most)
	if err != nil {
		// What is left of it will not be read.
		w.Header().Set("Connection", "close")
	}
	return body, err
}

func readBody(media string, w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if err := checkMedia(media, r.Header); err != nil {
		return nil, err
	}
	body, err := readBytes(w, r, most)
	if err == nil && !utf8.Valid(body) {
		// RFC 8259 section 8.1. encoding/json would replace what is broken, and
		// send another message than was written.
		return nil, newProblem(http.StatusBadRequest, job.CodeInvalid, "the body is not "+mediaNames[media]+": it is not UTF-8")
	}
	return body, err
}

// readBytes reads a body of any kind.
func readBytes(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	tooLarge := newProblem(http.StatusRequestEntityTooLarge, job.CodeInvalid, fmt.Sprintf("the body is larger than %d bytes", most))
	if r.ContentLength > most {
		return nil, tooLarge
	}
	body, err := readAll(http.MaxBytesReader(w, r.Body, most), r.ContentLength)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, newProblem(http.StatusRequestTimeout, job.CodeInvalid, "the body did not come in time")
	case r.Context().Err() != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("reading the body: %w", r.Context().Err())
	case err != nil: // a client that only stopped sending can read this
		return nil, newProblem(http.StatusBadRequest, job.CodeInvalid, "the body ended before its time")
	}
	if time.Since(exchangeOf(r.Context()).began) > slowBody {
		// net/http cancels the request's context when its read deadline passes
		// while the handler is at work. A writer that has no deadline needs none
		// lifted.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	return body, nil
}

// readAll is io.ReadAll for a body of which the client told the length, unless
// that is negative.
func readAll(r io.Reader, length int64) ([]byte, error) {
	var buf bytes.Buffer
	if length >= 0 {
		// Grown once; the client's word is trusted for so much only.
		buf.Grow(int(min(length, 64<<10)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(r)
	return buf.Bytes(), err
}

// mediaNames are the media types' for people.
var mediaNames = map[string]string{mediaJSON: "JSON", mediaCSV: "CSV"}

// checkMedia wants that media type and nothing else. This is what keeps a page of
// another origin from posting to an open API on its reader's own machine: a
// browser sends these types to another origin only when CORS allows it.
func checkMedia(want string, h http.Header) error {
	given := h.Get("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	if err != nil || media != want {
		p := newProblem(http.StatusUnsupportedMediaType, job.CodeInvalid, "the body must be "+mediaNames[want]+", sent with Content-Type: "+want)
		if want == mediaJSON && media == "application/x-www-form-urlencoded" {
			p.Detail += " (curl sends a form unless told otherwise: add -H 'Content-Type: application/json')"
		}
		p.header.Set("Accept", want) // RFC 9110 section 15.5.16
		return p
	}
	return checkEncoding(h)
}

// checkEncoding wants the body as it is.
func checkEncoding(h http.Header) error {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		p := newProblem(http.StatusUnsupportedMediaType, job.CodeInvalid, "the body must not be compressed")
		p.header.Set("Accept-Encoding", "identity")
		return p
	}
	return nil
}

// refuse answers from a middleware.
func (a *api) refuse(ctx huma.Context, err error) {
	r, w := humachi.Unwrap(ctx)
	a.told(ctx.Context(), err).write(w, r)
}

// told makes the problem of an error and logs what its caller is not told.
func (a *api) told(ctx context.Context, err error) *Problem {
	if errors.Is(err, context.DeadlineExceeded) && job.CodeOf(err) == job.CodeInternal {
		err = job.Wrap(job.CodeTemporary, err, "this took too long")
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && errors.Is(ctx.Err(), context.Canceled) {
		return newProblem(statusClientGone, job.CodeTemporary, "the client left")
	}
	log := a.log.With("request_id", exchangeOf(ctx).id)
	switch {
	case p.Status == http.StatusInternalServerError:
		log.Error("a request failed", "err", err)
	case p.Status > http.StatusInternalServerError:
		log.Warn("a request could not be served now", "err", err)
	}
	return p
}
