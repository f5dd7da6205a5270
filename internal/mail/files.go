package mail

import (
	"bytes"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
)

// setFiles adds the attachments: those that the HTML shows beside it in a
// multipart/related (RFC 2387), the others around all in a multipart/mixed.
func setFiles(msg *gomail.Msg, m Message) error {
	shown := map[string]bool{}
	for i, a := range m.Attachments {
		field := fmt.Sprintf("attachments[%d]", i)
		switch {
		case a.ContentID == "":
		case !contentIDPattern.MatchString(a.ContentID):
			return fmt.Errorf("%s.content_id must be up to 127 letters, digits and ._+@-", field)
		case m.HTML == "":
			return fmt.Errorf("%s.content_id is given, and there is no html that could name it", field)
		case shown[a.ContentID]:
			return fmt.Errorf("%s.content_id stands there twice", field)
		}
		shown[a.ContentID] = true
		if err := attach(msg, field, a); err != nil {
			return err
		}
	}
	return nil
}

// attach adds a file. Its headers are written here because go-mail puts a name
// that is not ASCII into RFC 2047 words within quotes, where none may stand
// (RFC 2047 §5); mime writes it as RFC 2231 has it.
func attach(msg *gomail.Msg, field string, a Attachment) error {
	switch {
	case a.Name == "" || len(a.Name) > maxFileName:
		return fmt.Errorf("%s.name must have 1 to %d bytes", field, maxFileName)
	case !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, isControl) || strings.ContainsAny(a.Name, `/\`):
		return fmt.Errorf("%s.name has a control character, a slash or a backslash, or is not UTF-8", field)
	}
	mediaType, params, err := mime.ParseMediaType(orDefault(a.ContentType, "application/octet-stream"))
	if err != nil || !strings.Contains(mediaType, "/") {
		return fmt.Errorf("%s.content_type is not a media type", field)
	}
	if strings.HasPrefix(mediaType, "multipart/") || strings.HasPrefix(mediaType, "message/") {
		// RFC 2045 §6.4 forbids base64 for these.
		return fmt.Errorf("%s.content_type must not be multipart/* or message/*: attach it as application/octet-stream", field)
	}
	contentType := mime.FormatMediaType(mediaType, params)
	if contentType == "" {
		return fmt.Errorf("%s.content_type has parameters that cannot be written", field)
	}
	add, disposition := msg.AttachReader, "attachment"
	if a.ContentID != "" {
		add, disposition = msg.EmbedReader, "inline"
	}
	return add(a.Name, bytes.NewReader(a.Content), func(f *gomail.File) {
		f.Header.Set("Content-Type", contentType)
		f.Header.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": a.Name}))
		if a.ContentID != "" {
			f.Header.Set("Content-ID", "<"+a.ContentID+">")
		}
	})
}
