package tasks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// MaxTemplateData is the most bytes that Email.Data may have.
const MaxTemplateData = 256_000

var (
	templateForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	// RFC 5646 section 2.1, as far as mails are translated by it.
	localeForm = regexp.MustCompile(`^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$`)
	hashForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ValidTemplate reports whether name can name a template: up to 64 lower-case
// letters, digits, hyphens and underscores.
func ValidTemplate(name string) bool { return templateForm.MatchString(name) }

// ValidLocale reports whether s looks like a language tag: "de", "de-AT".
func ValidLocale(s string) bool { return localeForm.MatchString(s) }

// checkTemplate checks what a template is named by and fed with. Whether there
// is such a template, and whether it takes the data, is for others to say.
func (e *Email) checkTemplate(bad *Invalid) {
	if bytes.Equal(e.Data, []byte("null")) {
		e.Data = nil
	}
	if e.Template == "" {
		for field, given := range map[string]bool{
			"data": e.Data != nil, "locale": e.Locale != "", "template_hash": e.TemplateHash != "",
		} {
			if given {
				bad.Add(field, "is for a template, which is not named")
			}
		}
		return
	}
	if !ValidTemplate(e.Template) {
		bad.Add("template", "must be up to 64 lower-case letters, digits, hyphens and underscores")
	}
	if e.Locale != "" && !ValidLocale(e.Locale) {
		bad.Add("locale", "must be a language tag, such as de or de-AT")
	}
	if e.TemplateHash != "" && !hashForm.MatchString(e.TemplateHash) {
		bad.Add("template_hash", "must be 64 hexadecimal digits")
	}
	if e.Text != "" {
		bad.Add("text", "and template exclude each other")
	}
	if e.HTML != "" {
		bad.Add("html", "and template exclude each other")
	}
	switch {
	case len(e.Data) > MaxTemplateData:
		bad.Add("data", fmt.Sprintf("is longer than %d bytes", MaxTemplateData))
	case e.Data != nil && (!json.Valid(e.Data) || bytes.TrimSpace(e.Data)[0] != '{'):
		bad.Add("data", "must be an object")
	}
}
