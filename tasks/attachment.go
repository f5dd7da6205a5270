package tasks

import (
	"fmt"
	"mime"
	"regexp"
	"strings"
)

var (
	fileIDForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// What an HTML attribute and a header bear as they are; RFC 2392 has more.
	contentIDForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+@-]{0,126}$`)
)

func checkAttachments(bad *Invalid, e *Email) {
	if len(e.Attachments) > MaxAttachments {
		bad.Add("attachments", fmt.Sprintf("has %d files, the most is %d", len(e.Attachments), MaxAttachments))
		return
	}
	shown := map[string]bool{}
	for i := range e.Attachments {
		f, field := &e.Attachments[i], fmt.Sprintf("attachments[%d]", i)
		f.check(bad, field)
		switch {
		case f.Inline && e.HTML == "" && e.Template == "":
			bad.Add(field+".inline", "must not be set for a mail without html or template, which would show it")
		case f.Inline && !contentIDForm.MatchString(f.ContentID):
			bad.Add(field+".content_id", "must be up to 127 letters, digits and ._+@- where inline is set: the html names it as cid:")
		case !f.Inline && f.ContentID != "":
			bad.Add(field+".content_id", "must not be given where inline is not set")
		case f.Inline && shown[f.ContentID]:
			bad.Add(field+".content_id", "stands there twice")
		}
		shown[f.ContentID] = true
	}
}

// check looks at what a file is by itself.
func (f *Attachment) check(bad *Invalid, field string) {
	switch {
	case f.Name == "" || len(f.Name) > 255:
		bad.Add(field+".name", "must be 1 to 255 bytes long")
	case hasControl(f.Name) || strings.ContainsAny(f.Name, `/\`):
		bad.Add(field+".name", "must be a file name without path separators and control characters")
	}
	if f.ContentType == "" && f.ID == "" {
		f.ContentType = "application/octet-stream"
	}
	if f.ContentType != "" && !FileType(f.ContentType) {
		bad.Add(field+".content_type", "is not the media type of a file")
	}
	switch {
	case f.ID == "" && len(f.Content) == 0:
		bad.Add(field+".content", "must not be empty, unless id is given")
	case f.ID != "" && len(f.Content) > 0:
		bad.Add(field+".id", "and content are two ways to name one file: give one of them")
	case f.ID != "" && !fileIDForm.MatchString(f.ID):
		bad.Add(field+".id", "is not the id of a stored file")
	}
}

// maxFileType bounds a media type with its parameters, in bytes: written in a
// header it stands on one line, whatever has to be encoded.
const maxFileType = 255

// FileType reports whether s is the media type of a file: multipart/* and
// message/* are of mails, and may not be encoded as files are (RFC 2045 section
// 6.4).
func FileType(s string) bool {
	media, _, err := mime.ParseMediaType(s)
	return err == nil && len(s) <= maxFileType && strings.Contains(media, "/") && !hasControl(s) &&
		!strings.HasPrefix(media, "multipart/") && !strings.HasPrefix(media, "message/")
}
