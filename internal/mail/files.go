package mail

import (
	"fmt"
	"mime"
	"net/textproto"
	"strings"
	"unicode/utf8"
)

// filesOf are the attachments: those that the HTML shows, and the others.
func filesOf(m Message) (inline, attached []entity, err error) {
	shown := map[string]bool{}
	for i, a := range m.Attachments {
		field := fmt.Sprintf("attachments[%d]", i)
		p, err := filePart(field, a)
		switch {
		case err != nil:
			return nil, nil, err
		case a.ContentID == "":
			attached = append(attached, p)
			continue
		case !contentIDPattern.MatchString(a.ContentID):
			return nil, nil, fmt.Errorf("%s.content_id must be up to 127 letters, digits and ._+@-", field)
		case m.HTML == "":
			return nil, nil, fmt.Errorf("%s.content_id is given, and there is no html that could name it", field)
		case shown[a.ContentID]:
			return nil, nil, fmt.Errorf("%s.content_id stands there twice", field)
		}
		shown[a.ContentID] = true
		inline = append(inline, p)
	}
	return inline, attached, nil
}

// filePart makes a part of a file. A name that is not ASCII is written as RFC 2231
// has it.
func filePart(field string, a Attachment) (entity, error) {
	switch {
	case a.Name == "" || len(a.Name) > maxFileName:
		return entity{}, fmt.Errorf("%s.name must have 1 to %d bytes", field, maxFileName)
	case !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, isControl) || strings.ContainsAny(a.Name, `/\`):
		return entity{}, fmt.Errorf("%s.name has a control character, a slash or a backslash, or is not UTF-8", field)
	}
	mediaType, params, err := mime.ParseMediaType(orDefault(a.ContentType, "application/octet-stream"))
	if err != nil || !strings.Contains(mediaType, "/") {
		return entity{}, fmt.Errorf("%s.content_type is not a media type", field)
	}
	if strings.HasPrefix(mediaType, "multipart/") || strings.HasPrefix(mediaType, "message/") {
		// RFC 2045 §6.4 forbids base64 for these.
		return entity{}, fmt.Errorf("%s.content_type must not be multipart/* or message/*: attach it as application/octet-stream", field)
	}
	contentType := withParams(mediaType, params)
	if contentType == "" {
		return entity{}, fmt.Errorf("%s.content_type has parameters that cannot be written", field)
	}
	disposition := "attachment"
	if a.ContentID != "" {
		disposition = "inline"
	}
	header := textproto.MIMEHeader{
		"Content-Type":              {contentType},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {withParams(disposition, map[string]string{"filename": a.Name})},
	}
	if a.ContentID != "" {
		header["Content-ID"] = []string{"<" + a.ContentID + ">"}
	}
	return entity{header, func(w *assembly) error { w.file(a.Content); return nil }}, nil
}
