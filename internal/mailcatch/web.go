package mailcatch

import (
	"bytes"
	"embed"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The policies of what is served. A mail's HTML is hostile: it has an origin of
// its own (sandbox), runs no script, loads nothing and posts nothing.
const (
	pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
		"frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	mailPolicy = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
	filePolicy = "sandbox; default-src 'none'"
)

//go:embed assets
var embedded embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.Format("02 Jan 15:04:05") },
	"iso":   func(t time.Time) string { return t.Format(time.RFC3339) },
	"size":  humanSize,
}).ParseFS(embedded, "assets/*.html"))

// Handler serves the mailbox: pages and JSON, all below /dev/mail. Mount it
// there without stripping the prefix.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dev/mail", s.listPage)
	mux.HandleFunc("GET /dev/mail/{$}", s.listPage)
	mux.HandleFunc("GET /dev/mail/{id}", s.mailPage)
	mux.HandleFunc("GET /dev/mail/{id}/{view}", s.mailView) // html or source
	mux.HandleFunc("GET /dev/mail/{id}/attachments/{n}", s.mailAttachment)
	mux.HandleFunc("GET /dev/mail/app.js", asset("assets/app.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /dev/mail/app.css", asset("assets/app.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /dev/mail/messages", s.listJSON)
	mux.HandleFunc("DELETE /dev/mail/messages", s.deleteAll)
	mux.HandleFunc("GET /dev/mail/messages/{id}", s.mailJSON)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", filePolicy) // pages and mails set their own
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) listPage(w http.ResponseWriter, r *http.Request) {
	mails, state := s.box.list("")
	views := make([]listed, len(mails))
	for i, mail := range mails {
		views[i] = listView(mail)
	}
	s.render(w, "list.html", struct {
		State, Host string
		Mails       []listed
	}{state, r.Host, views})
}

func (s *Server) mailPage(w http.ResponseWriter, r *http.Request) {
	mail, ok := s.box.find(r.PathValue("id"))
	if !ok {
		s.missing(w)
		return
	}
	c := parse(mail.raw)
	s.render(w, "mail.html", struct {
		detailed
		Header, Trouble string
	}{detailView(mail, c), c.header, c.trouble})
}

func (s *Server) missing(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.WriteHeader(http.StatusNotFound)
	if err := pages.ExecuteTemplate(w, "missing.html", nil); err != nil {
		s.log.Debug("the page could not be sent", "error", err)
	}
}

// render builds the page whole before the first byte goes out.
func (s *Server) render(w http.ResponseWriter, name string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		s.log.Error("rendering a page of the mail catcher", "page", name, "error", err)
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	s.send(w, "text/html; charset=utf-8", page.Bytes())
}

func (s *Server) mailView(w http.ResponseWriter, r *http.Request) {
	mail, ok := s.box.find(r.PathValue("id"))
	view := r.PathValue("view")
	switch {
	case ok && view == "html":
		w.Header().Set("Content-Security-Policy", mailPolicy)
		s.send(w, "text/html; charset=utf-8", []byte(parse(mail.raw).html))
	case ok && view == "source":
		s.send(w, "text/plain; charset=utf-8", []byte(strings.ToValidUTF8(string(mail.raw), "\uFFFD")))
	default:
		http.NotFound(w, r)
	}
}

// mailAttachment is always a download, whatever its type claims.
func (s *Server) mailAttachment(w http.ResponseWriter, r *http.Request) {
	mail, ok := s.box.find(r.PathValue("id"))
	n, err := strconv.Atoi(r.PathValue("n"))
	if !ok || err != nil || n < 1 {
		http.NotFound(w, r)
		return
	}
	attachments := parse(mail.raw).attachments
	if n > len(attachments) {
		http.NotFound(w, r)
		return
	}
	a := attachments[n-1]
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fileName(a, n)}))
	s.send(w, "application/octet-stream", a.data)
}

// fileName is what a browser is to call the file: it strips folders itself, but
// it need not be tempted.
func fileName(a attachment, n int) string {
	name := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:`, r) {
			return '_'
		}
		return r
	}, a.name)
	if name == "" {
		return "attachment-" + strconv.Itoa(n)
	}
	return name
}

func (s *Server) send(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body); err != nil {
		s.log.Debug("the answer could not be sent", "error", err)
	}
}

func asset(name, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		http.ServeFileFS(w, r, embedded, name)
	}
}

func humanSize(n int) string {
	switch {
	case n < 1<<10:
		return strconv.Itoa(n) + " B"
	case n < 1<<20:
		return strconv.Itoa(n>>10) + " KiB"
	default:
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
	}
}
