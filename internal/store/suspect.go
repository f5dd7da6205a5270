package store

import (
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/tasks"
)

// suspects chooses rows that may give a person away, so that only those have to
// be read: rather too many, since quotes decide.
type suspects struct {
	plain   []string   // as it is usually written
	flat    []string   // the same without what lines are broken by
	encoded [][]string // in base64: the letters that each place may have
}

func newSuspects(p delivery.Person) (s suspects) {
	for _, form := range p.Forms {
		local, domain, _ := strings.Cut(form, "@")
		query := strings.ToLower(url.QueryEscape(local))
		s.plain = append(s.plain, form, local+"%40"+domain, query+"%40"+domain, local+"="+domain, local+"=40"+domain, local+`\u0040`+domain)
		s.flat = append(s.flat, form, local+"%40"+domain, query+"%40"+domain, local+domain, local+"40"+domain)
		for offset := range 3 {
			s.encoded = append(s.encoded, inBase64(form, offset))
		}
	}
	return s
}

// where is the condition on a row of the relation, with its parameters.
func (s suspects) where(d dialect, r relation) (string, []any) {
	find, char, matches, rest := "instr", "char", " GLOB ?", "*"
	if d.postgres {
		find, char, matches, rest = "strpos", "chr", " ~ ?", ""
	}
	var conds []string
	var args []any
	for _, c := range r.texts {
		for _, q := range s.plain {
			conds, args = append(conds, find+"(lower("+c+"), ?) > 0"), append(args, q)
		}
		flat := c
		for _, gone := range []string{"'='", char + "(13)", char + "(10)", `'\r'`, `'\n'`} {
			flat = "replace(" + flat + ", " + gone + ", '')"
		}
		for _, q := range s.flat {
			conds, args = append(conds, find+"(lower("+flat+"), ?) > 0"), append(args, q)
		}
		for _, places := range s.encoded {
			pattern := rest
			for _, letters := range places {
				pattern += "[" + letters + "]"
			}
			conds, args = append(conds, flat+matches), append(args, pattern+rest)
		}
	}
	if r.name == "jobs" { // in which mails are, and webhooks, as they came
		conds, args = append(conds, "type = ?"), append(args, tasks.FeedbackReceive.Name)
	}
	return "(" + strings.Join(conds, " OR ") + ")", args
}

// The letters of base64 (RFC 4648 sections 4 and 5, which differ in the last two).
const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// inBase64 is what a text looks like in base64, in upper or lower case, where it
// begins so many bytes behind a multiple of three: for each letter that nothing
// but the text has a part in, which letters it may be.
func inBase64(text string, offset int) (places []string) {
	lower, upper := strings.ToLower(text), []byte(strings.ToLower(text))
	for i, c := range upper {
		if 'a' <= c && c <= 'z' {
			upper[i] = c - 'a' + 'A'
		}
	}
	for bit := (8*offset + 5) / 6 * 6; bit+6 <= 8*(offset+len(text)); bit += 6 {
		first, last := bit/8-offset, (bit+5)/8-offset
		var letters []byte
		for _, a := range []byte{lower[first], upper[first]} {
			for _, b := range []byte{lower[last], upper[last]} {
				// The six bits that follow bit%8 of the two bytes.
				pair := int(a)<<8 | int(b)
				if first == last {
					pair = int(a) << 8
				}
				letter := base64Letters[pair>>(10-bit%8)&63]
				letters = append(letters, letter)
				switch letter {
				case '+':
					letters = append(letters, '-')
				case '/':
					letters = append(letters, '_')
				}
			}
		}
		slices.Sort(letters)
		letters = slices.Compact(letters)
		if i := slices.Index(letters, '-'); i >= 0 { // which in the middle would mean a range
			letters = append(slices.Delete(letters, i, i+1), '-')
		}
		places = append(places, string(letters))
	}
	return places
}
