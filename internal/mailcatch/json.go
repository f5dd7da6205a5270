package mailcatch

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// listed is a mail in the list, for the page and for JSON.
type listed struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"` // of arrival
	From      string    `json:"from"` // the header; the envelope when there is none
	To        []string  `json:"to"`   // the envelope: who received it
	Subject   string    `json:"subject"`
	MessageID string    `json:"message_id"`
	Size      int       `json:"size"` // bytes
}

// detailed is one mail.
type detailed struct {
	listed
	EnvelopeFrom string              `json:"envelope_from"`
	HeaderTo     string              `json:"header_to"`
	Cc           string              `json:"cc"`
	Date         string              `json:"date"`
	Headers      map[string][]string `json:"headers"`
	Text         string              `json:"text"`
	HTML         string              `json:"html"`
	Attachments  []file              `json:"attachments"`
}

type file struct {
	Name        string `json:"name"`
	ContentType string `json:"content_type"` // as the mail claims
	Size        int    `json:"size"`         // bytes
	URL         string `json:"url"`
}

func listView(mail *caught) listed {
	v := listed{
		ID: mail.id, Time: mail.time, From: mail.summary.from, To: mail.to,
		Subject: mail.summary.subject, MessageID: mail.summary.messageID, Size: len(mail.raw),
	}
	if v.From == "" {
		v.From = mail.from
	}
	return v
}

func detailView(mail *caught, c content) detailed {
	v := detailed{
		listed: listView(mail), EnvelopeFrom: mail.from,
		HeaderTo: mail.summary.to, Cc: mail.summary.cc, Date: mail.summary.date,
		Headers: c.headers, Text: c.text, HTML: c.html, Attachments: []file{},
	}
	for i, a := range c.attachments {
		v.Attachments = append(v.Attachments, file{
			Name: fileName(a, i+1), ContentType: a.contentType, Size: len(a.data),
			URL: "/dev/mail/" + mail.id + "/attachments/" + strconv.Itoa(i+1),
		})
	}
	return v
}

// listJSON answers GET /dev/mail/messages?to=recipient, newest first. Its ETag
// lets the page ask every second at no cost.
func (s *Server) listJSON(w http.ResponseWriter, r *http.Request) {
	mails, state := s.box.list(r.URL.Query().Get("to"))
	etag := `"` + state + `"`
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	views := make([]listed, len(mails))
	for i, mail := range mails {
		views[i] = listView(mail)
	}
	s.writeJSON(w, http.StatusOK, map[string]any{"messages": views})
}

func (s *Server) mailJSON(w http.ResponseWriter, r *http.Request) {
	mail, ok := s.box.find(r.PathValue("id"))
	if !ok {
		s.writeJSON(w, http.StatusNotFound, map[string]string{"title": "There is no such mail."})
		return
	}
	s.writeJSON(w, http.StatusOK, detailView(mail, parse(mail.raw)))
}

func (s *Server) deleteAll(w http.ResponseWriter, _ *http.Request) {
	s.box.clear()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("the answer could not be sent", "error", err)
	}
}
