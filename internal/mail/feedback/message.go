package feedback

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/mail"
)

// Bounds of a message that comes back.
const (
	maxParts  = 20        // of a multipart
	maxReport = 256 << 10 // bytes of a report or a header
	maxGroups = 100       // recipients that a delivery report names
)

// Message reads mail that came back: a delivery report (RFC 3464) or a complaint
// (RFC 5965), whole or cut off. rcpt is the address that it came to, if that is
// known. Nothing is returned for what is neither.
//
// Anybody can write such a mail. It is believed where it came to a return path
// that was signed here: then it concerns the recipient of that mail's job,
// whoever it names. Otherwise it is kept with the address that it names, and
// suppresses nobody.
func (r Reader) Message(rcpt string, raw []byte) []mail.Feedback {
	m, err := netmail.ReadMessage(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil
	}
	media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || media != "multipart/report" || params["boundary"] == "" {
		return nil
	}
	report := r.parts(multipart.NewReader(m.Body, params["boundary"]))
	if len(report.groups) == 0 {
		return nil
	}
	paths := append([]string{rcpt}, m.Header["To"]...)
	for _, name := range []string{"Delivered-To", "X-Original-To"} {
		paths = append(paths, m.Header[textproto.CanonicalMIMEHeaderKey(name)]...)
	}
	job := r.believed(append(paths, report.paths...))
	at, err := m.Header.Date()
	if err != nil {
		at = time.Unix(0, 0)
	}
	// A message has no name that can be trusted; what it is made of names it.
	sum := sha256.Sum256(report.text.Bytes())
	name := job + hex.EncodeToString(sum[:])
	var all []mail.Feedback
	for i, g := range report.groups {
		f, told := readGroup(report.complaint, g)
		if !told || i > 0 && job != "" { // a mail of ours has one recipient
			continue
		}
		f.Provider, f.Event, f.At, f.Job = "message", bounded(name+"/"+f.Address), at, job
		if job != "" {
			f.Address = ""
		} else {
			f.Suppress = ""
		}
		all = append(all, f)
	}
	return all
}

// believed is the job of the first return path that was signed here.
func (r Reader) believed(paths []string) string {
	if r.Returns == nil {
		return ""
	}
	for _, p := range paths {
		if a, err := netmail.ParseAddress(p); err == nil {
			p = a.Address
		}
		if id, ok := r.Returns.MessageID(strings.Trim(p, "<> ")); ok {
			return id
		}
	}
	return ""
}

// report is what the parts of a multipart/report say.
type report struct {
	complaint bool
	groups    []textproto.MIMEHeader // of each recipient; of a complaint one
	paths     []string               // return paths that it names
	text      bytes.Buffer           // all of it
}

// parts reads what it can: a report that is cut off ends where it does.
func (r Reader) parts(in *multipart.Reader) (out report) {
	for range maxParts {
		p, err := in.NextRawPart()
		if err != nil {
			return out
		}
		media, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")) // "" is none of these
		body := decoded(p.Header.Get("Content-Transfer-Encoding"), p)
		switch media {
		case "message/delivery-status", "message/global-delivery-status":
			out.groups = append(out.groups, readGroups(io.TeeReader(body, &out.text))...)
			if len(out.groups) > 0 {
				out.groups = out.groups[1:] // the first is about the message
			}
		case "message/feedback-report":
			out.complaint = true
			out.groups = readGroups(io.TeeReader(body, &out.text))
			for _, g := range out.groups {
				out.paths = append(out.paths, g["Original-Mail-From"]...)
			}
		case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers":
			h, _ := textproto.NewReader(bufio.NewReader(body)).ReadMIMEHeader() // as far as it goes
			out.paths = append(out.paths, h["Return-Path"]...)
		}
	}
	return out
}

// decoded is a part's body, bounded.
func decoded(encoding string, p io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		p = quotedprintable.NewReader(p)
	case "base64":
		p = base64.NewDecoder(base64.StdEncoding, p)
	}
	return io.LimitReader(p, maxReport)
}

// readGroups reads groups of fields with empty lines between.
func readGroups(body io.Reader) (out []textproto.MIMEHeader) {
	in := textproto.NewReader(bufio.NewReader(body))
	for len(out) <= maxGroups {
		g, err := in.ReadMIMEHeader()
		if len(g) > 0 {
			out = append(out, g)
		}
		if err != nil {
			return out
		}
	}
	return out
}

// readGroup reads what is said about one recipient; false for what is no end of
// a mail's way: delayed, relayed, expanded.
func readGroup(complaint bool, g textproto.MIMEHeader) (mail.Feedback, bool) {
	if complaint {
		f := complained()
		f.Address, f.Message = addressIn(g.Get("Original-Rcpt-To")), mail.Note(g.Get("Feedback-Type"))
		return f, !strings.EqualFold(g.Get("Feedback-Type"), "not-spam")
	}
	status, _, _ := strings.Cut(strings.TrimSpace(g.Get("Status")), " ")
	words := strings.Join(strings.Fields(g.Get("Diagnostic-Code")), " ")
	if words == "" {
		words = status
	}
	var f mail.Feedback
	switch strings.ToLower(strings.TrimSpace(g.Get("Action"))) {
	case "failed":
		f = bounce(strings.HasPrefix(status, "5"))
		if !mail.BadAddress(status) {
			f.Suppress = ""
		}
	case "delivered":
		f = delivered()
	default:
		return f, false
	}
	f.ReplyCode, f.Message = reply(words), mail.Note(words)
	if f.Address = addressIn(g.Get("Original-Recipient")); f.Address == "" {
		f.Address = addressIn(g.Get("Final-Recipient"))
	}
	return f, true
}

// addressIn is the address in "rfc822; user@example.com", normal, or empty.
func addressIn(field string) string {
	if kind, rest, typed := strings.Cut(field, ";"); typed && !strings.Contains(kind, "@") {
		field = rest
	}
	normal, err := mail.Normalise(strings.TrimSpace(field))
	if err != nil {
		return ""
	}
	return normal
}
