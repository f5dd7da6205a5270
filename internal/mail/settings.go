package mail

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/postrider/postrider/internal/tlsfile"
)

// settings is what one URL of SMTP_URL says.
type settings struct {
	server
	name        string
	from        []string // sender domains that it is for, lower case; none: all
	categories  []string // likewise
	priority    int      // the lowest is tried first
	weight      int      // its share among those of one priority
	connections int      // at once, in this process; 0: as many as there are senders
}

// Bounds of what the query may say.
const (
	maxProviders    = 20
	maxPriority     = 1000
	maxWeight       = 1000
	maxConnections  = 10_000
	defaultPriority = 10
	defaultWeight   = 1
)

// parseProviders reads SMTP_URL: one URL or several, with white space between,
// which no URL has. Its errors quote nothing of the value: see parseServer.
func parseProviders(raw string) ([]settings, error) {
	urls := strings.Fields(raw)
	if len(urls) == 0 || len(urls) > maxProviders {
		return nil, fmt.Errorf("SMTP_URL must name 1 to %d servers, with spaces or line breaks between", maxProviders)
	}
	var all []settings
	var errs []error
	for i, text := range urls {
		s, err := parseSettings(text)
		if err == nil && slices.ContainsFunc(all, func(other settings) bool { return other.name == s.name }) {
			err = errors.New("has the name of another: give one of them ?name=…")
		}
		switch {
		case err == nil:
			all = append(all, s)
		case len(urls) == 1:
			errs = append(errs, fmt.Errorf("SMTP_URL %w", err))
		default:
			errs = append(errs, fmt.Errorf("SMTP_URL: server %d of %d %w", i+1, len(urls), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

// parseSettings reads one URL.
func parseSettings(text string) (settings, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return settings{}, errors.New("must read smtp://user:password@host:port or smtps://…; write special characters in user and password as %XX")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return settings{}, errors.New("has a malformed query")
	}
	q := parameters{values: query}
	tls := q.text("tls")
	s := settings{
		name:       q.text("name"),
		from:       q.list("from"),
		categories: q.list("category"),
		priority:   q.number("priority", defaultPriority, 0, maxPriority),
		weight:     q.number("weight", defaultWeight, 1, maxWeight), connections: q.number("connections", 0, 1, maxConnections),
	}
	files, err := tlsfile.FromQuery(q.text)
	if err == nil {
		err = q.end()
	}
	if err != nil {
		return settings{}, err
	}
	if s.server, err = parseServer(u, tls, files); err != nil {
		return settings{}, err
	}
	return s, s.check()
}

var (
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$`)
	domainPattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	categoryPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
)

// check brings names into their form.
func (s *settings) check() error {
	if s.name == "" {
		s.name = strings.ReplaceAll(strings.ToLower(s.host), ":", "-") // of an IPv6 address
		if len(s.name) > 0 && s.name[0] == '-' {
			s.name = "ip6" + s.name
		}
	}
	if !namePattern.MatchString(s.name) {
		return errors.New("has a name that is not letters, digits, dots, hyphens and underscores")
	}
	for i, domain := range s.from {
		ascii, err := idna.Lookup.ToASCII(strings.ToLower(domain))
		if err != nil || !domainPattern.MatchString(ascii) {
			return errors.New("has a from= that is not a domain")
		}
		s.from[i] = ascii
	}
	for _, category := range s.categories {
		if !categoryPattern.MatchString(category) {
			return errors.New("has a category= that is not up to 64 lower-case letters, digits, hyphens and underscores")
		}
	}
	return nil
}

// parameters takes values out of a query and keeps the first error.
type parameters struct {
	values url.Values
	err    error
}

func (p *parameters) text(name string) string {
	values := p.values[name]
	delete(p.values, name)
	if len(values) > 1 && p.err == nil {
		p.err = fmt.Errorf("has %s= more than once", name)
	}
	return strings.Join(values, ",")
}

// list may stand several times, with commas too.
func (p *parameters) list(name string) []string {
	values, given := p.values[name]
	delete(p.values, name)
	if !given {
		return nil
	}
	return strings.Split(strings.Join(values, ","), ",")
}

func (p *parameters) number(name string, fallback, least, most int) int {
	text := p.text(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if (err != nil || n < least || n > most) && p.err == nil {
		p.err = fmt.Errorf("must have a %s= of %d to %d", name, least, most)
	}
	return n
}

func (p *parameters) end() error {
	if p.err == nil && len(p.values) > 0 {
		return errors.New("has a parameter that is not known: there are tls, name, from, category, priority, weight, connections, " + tlsfile.Parameters + "; write ? in a password as %3F")
	}
	return p.err
}
