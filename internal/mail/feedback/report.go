package feedback

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"regexp"
	"strings"
)

// Bounds of what is read of a message.
const (
	maxDepth  = 4         // of multiparts in multiparts
	maxParts  = 20        // of all of them together
	maxReport = 256 << 10 // bytes of a part
	maxGroups = 100       // recipients that a delivery report names
	maxField  = 8 << 10   // bytes of a field's continued lines; of longer ones the beginning is read
)

// report is what the parts of a message say.
type report struct {
	groups []group
	paths  []string     // return paths that it names
	text   bytes.Buffer // all of the reports

	parts int // that were read
}

// readReport reads what it can, in the order of the message; one that is cut off
// ends where it does. It wants no more of the form than it needs: servers in
// between wrap a report into a multipart/mixed, and some write one themselves.
func readReport(header textproto.MIMEHeader, body []byte) *report {
	out := &report{}
	out.read(header, bytes.NewReader(body), 0)
	return out
}

// read reads an entity: a part, or the message.
func (out *report) read(header textproto.MIMEHeader, body io.Reader, depth int) {
	media, boundary := mediaOf(header.Get("Content-Type"))
	if strings.HasPrefix(media, "multipart/") && boundary != "" && depth < maxDepth {
		in := multipart.NewReader(body, boundary)
		for out.parts < maxParts {
			p, err := in.NextRawPart()
			if err != nil {
				return
			}
			out.parts++
			out.read(p.Header, p, depth+1)
		}
		return
	}
	switch media {
	case "message/delivery-status", "message/global-delivery-status":
		for _, g := range out.fields(header, body) {
			// The group about the message is none; not all servers write one.
			if g.Get("Final-Recipient") != "" || g.Get("Original-Recipient") != "" || g.Get("Action") != "" {
				out.groups = append(out.groups, group{g, false})
			}
		}
	case "message/feedback-report":
		all := group{textproto.MIMEHeader{}, true}
		for _, g := range out.fields(header, body) {
			for name, values := range g {
				all.MIMEHeader[name] = append(all.MIMEHeader[name], values...)
			}
		}
		if len(all.MIMEHeader) > 0 {
			out.groups = append(out.groups, all)
		}
		out.paths = append(out.paths, all.MIMEHeader["Original-Mail-From"]...)
	case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers":
		h, _ := readFields(content(header, body))
		out.paths = append(out.paths, h["Return-Path"]...)
	}
}

// fields reads a report's groups of fields, with empty lines between.
func (out *report) fields(header textproto.MIMEHeader, body io.Reader) (groups []textproto.MIMEHeader) {
	text := content(header, body)
	out.text.Write(text)
	for len(text) > 0 && len(groups) <= maxGroups { // one is about the message
		var g textproto.MIMEHeader
		if g, text = readFields(text); len(g) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// content is a part's, decoded as far as that goes, and bounded.
func content(header textproto.MIMEHeader, body io.Reader) []byte {
	switch strings.ToLower(strings.TrimSpace(header.Get("Content-Transfer-Encoding"))) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, _ := io.ReadAll(io.LimitReader(body, maxReport)) // what was there before it broke is good
	return text
}

// looseBoundary finds a boundary that RFC 2045 would have in quotes: "=" stands
// in those of many programs.
var looseBoundary = regexp.MustCompile(`(?i)(?:^|[;\s])boundary\s*=\s*"?([^";\r\n]{1,200})`)

// mediaOf reads a Content-Type.
func mediaOf(field string) (media, boundary string) {
	media, params, err := mime.ParseMediaType(field)
	if err == nil {
		return media, params["boundary"]
	}
	media, rest, _ := strings.Cut(field, ";")
	if m := looseBoundary.FindStringSubmatch(rest); m != nil {
		boundary = strings.TrimSpace(m[1])
	}
	return strings.ToLower(strings.TrimSpace(media)), boundary
}

// readFields reads fields up to an empty line and returns what comes after it.
// It bears more than net/textproto: a line that is no field (such as the
// "From " of a mailbox) is passed over, and so the rest is not lost.
func readFields(text []byte) (fields textproto.MIMEHeader, rest []byte) {
	fields = textproto.MIMEHeader{}
	last := ""
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		s := strings.TrimRight(string(line), " \t\r")
		if s == "" {
			return fields, text
		}
		if s[0] == ' ' || s[0] == '\t' {
			if values := fields[last]; len(values) > 0 && len(values[len(values)-1]) < maxField {
				values[len(values)-1] += " " + strings.TrimSpace(s)
			}
			continue
		}
		name, value, found := strings.Cut(s, ":")
		if name = strings.TrimRight(name, " \t"); !found || name == "" || strings.ContainsAny(name, " \t") {
			last = ""
			continue
		}
		last = textproto.CanonicalMIMEHeaderKey(name)
		fields[last] = append(fields[last], strings.TrimSpace(value))
	}
	return fields, nil
}
