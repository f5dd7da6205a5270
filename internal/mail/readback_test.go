package mail

import "strings"

// readBack is what Python's email package finds in a mail.
type readBack struct {
	Headers   map[string]string
	Structure string
	Defects   []string
	Parts     []struct {
		Type, Disposition, Filename, ID, Encoding string
		Content                                   []byte
		Text                                      string
	}
}

// content tells the parts as partsOf does.
func (r readBack) content() []string {
	var out []string
	for _, p := range r.Parts {
		if p.Disposition == "" {
			out = append(out, p.Type+"|||"+strings.TrimSuffix(strings.ReplaceAll(p.Text, "\r\n", "\n"), "\n"))
			continue
		}
		out = append(out, strings.Join([]string{p.Type, p.Disposition + " " + p.Filename, strings.Trim(p.ID, "<>"), string(p.Content)}, "|"))
	}
	return out
}
