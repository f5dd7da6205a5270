package template

import (
	"fmt"
	"html"
	"regexp"
	"strings"

	"github.com/k3a/html2text"
)

// hidden keeps the preheader from showing in the mail itself; the blanks behind
// it keep the mail's first words from showing in the list of mails.
const hidden = `<div style="display:none;max-height:0;overflow:hidden;mso-hide:all">%s%s</div>`

var blanks = strings.Repeat("&#847;&zwnj;&nbsp;", 60)

// withPreheader puts it at the body's beginning.
func withPreheader(page, preheader string) string {
	if preheader == "" {
		return page
	}
	at := 0
	if body := strings.Index(page, "<body"); body >= 0 {
		at = body + strings.Index(page[body:], ">") + 1
	}
	return page[:at] + fmt.Sprintf(hidden, html.EscapeString(preheader), blanks) + page[at:]
}

var (
	// An <a> without href would swallow what is behind it.
	anchor  = regexp.MustCompile(`(?i)<a(\s[^>]*)?>`)
	hasHref = regexp.MustCompile(`(?i)\shref\s*=`)
	// html2text knows few elements, and these only without attributes.
	block      = regexp.MustCompile(`(?i)<(/?)(?:p|div|section|article|header|footer|table|blockquote)(?:\s[^>]*)?>`)
	item       = regexp.MustCompile(`(?i)<(li|/?ul|/?ol|br)\s[^>]*>`)
	cell       = regexp.MustCompile(`(?i)</t[dh]\s*>`)
	row        = regexp.MustCompile(`(?i)</tr\s*>`)
	emptyLines = regexp.MustCompile(`\n{3,}`)
	indent     = regexp.MustCompile(`(?m)^[ \t]+`)            // of the HTML's source
	shownLink  = regexp.MustCompile(`https?://\S+ <[^>\s]+>`) // whose words may be its target
)

// plain makes text of HTML.
func plain(page string) string {
	page = anchor.ReplaceAllStringFunc(page, func(tag string) string {
		if hasHref.MatchString(tag) {
			return tag
		}
		return ""
	})
	page = block.ReplaceAllString(page, "<${1}p>")
	page = item.ReplaceAllString(page, "<$1>")
	page = row.ReplaceAllString(cell.ReplaceAllString(page, " "), "<br>")
	text := html2text.HTML2TextWithOptions(page,
		html2text.WithUnixLineBreaks(), html2text.WithLinksInnerText(), html2text.WithListSupportPrefix("- "))
	text = indent.ReplaceAllString(text, "")
	return tidy(shownLink.ReplaceAllStringFunc(text, func(s string) string {
		words, target, _ := strings.Cut(s, " <")
		if words+">" != target {
			return s
		}
		return words
	}))
}

// tidy takes the space off that a template's own layout leaves: at the ends of
// lines, and more than one empty line.
func tidy(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\u00a0")
	}
	text = emptyLines.ReplaceAllString(strings.Join(lines, "\n"), "\n\n")
	if text = strings.Trim(text, "\n"); text == "" {
		return ""
	}
	return text + "\n"
}
