package config

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
)

// Dump writes the effective settings, one a line: name, value, where it comes
// from. Of a secret that is a URL the passwords are hidden, of another all.
func (r *Report) Dump(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range r.settings {
		shown := s.raw
		switch {
		case s.raw == "":
			fmt.Fprintf(tw, "%s\t[not set]\n", s.name)
			continue
		case s.secret:
			shown = redact(s.raw)
		}
		fmt.Fprintf(tw, "%s\t%s\t(%s)\n", s.name, shown, s.source)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing the settings: %w", err)
	}
	return nil
}

var (
	// urlForm splits a URL at its user information, if any. Not net/url: what that
	// refuses, such as a bad port, must be shown without its password too. The
	// user information ends at the last @, lest an unescaped / or @ in a password
	// show its rest.
	urlForm = regexp.MustCompile(`(?is)^([a-z][a-z0-9+.-]*://)(?:([^:@/?]*)(:.*)?@)?(.*)$`)
	// parameter is a query parameter. What it holds is shown of those that are
	// known to be harmless: drivers take passwords by others.
	parameter = regexp.MustCompile(`([?&])([^=&#]*)=([^&#]*)`)
	harmless  = regexp.MustCompile(`(?i)^(tls|ca|cert|server_name|min_tls|sslrootcert|sslcert|sslmode|db|user|connect_timeout|application_name|search_path)$`)
)

const hidden = "xxxxx"

// redact hides what is secret in a secret's value.
func redact(value string) string {
	m := urlForm.FindStringSubmatch(value)
	if m == nil {
		return "[set]"
	}
	scheme, user, password, rest := m[1], m[2], m[3], m[4]
	if password != "" {
		user += ":" + hidden
	}
	if user != "" {
		user += "@"
	}
	return scheme + user + parameter.ReplaceAllStringFunc(rest, func(p string) string {
		m := parameter.FindStringSubmatch(p)
		if harmless.MatchString(m[2]) {
			return p
		}
		return m[1] + m[2] + "=" + hidden
	})
}

// Table returns the settings of the struct that dst points to as a Markdown
// table for the documentation. For a dst that Load would refuse it returns
// Load's error as text.
func Table(dst any) string {
	root, err := walk(dst)
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	b.WriteString("| variable | default | what it is |\n| --- | --- | --- |\n")
	root.table(&b)
	return b.String()
}

func (s *section) table(b *strings.Builder) {
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, setting := range s.settings {
		fallback := ""
		if setting.fallback != "" {
			fallback = "`" + cell.Replace(setting.fallback) + "`"
		}
		help := cell.Replace(setting.help)
		if setting.secret {
			help += " (secret: also `" + setting.name + fileSuffix + "`)"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", setting.name, fallback, help)
	}
	for _, inner := range s.sections {
		inner.table(b)
	}
}
