package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/postrider/postrider/internal/tlsfile"
)

// form is how Redis is run.
type form int

const (
	single form = iota
	sentinel
	cluster
)

// address is what REDIS_URL says.
type address struct {
	form           form
	addrs          []string // host:port each; a socket's path when it begins with /
	user, password string
	db             int
	master         string // the name that Sentinels know it by

	sentinelUser, sentinelPassword string

	secure bool           // by TLS
	files  tlsfile.Client // for it
	tls    *tls.Config    // what useTLS made of both; nil for none
}

// useTLS reads the files of an address that is to be spoken to by TLS.
func (a *address) useTLS() (err error) {
	if !a.secure {
		return nil
	}
	if a.tls, err = a.files.Config(); err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	return nil
}

// schemes lists what may stand before "://".
var schemes = map[string]struct {
	form form
	tls  bool
}{
	"redis":           {single, false},
	"rediss":          {single, true},
	"redis+sentinel":  {sentinel, false},
	"rediss+sentinel": {sentinel, true},
	"redis+cluster":   {cluster, false},
	"rediss+cluster":  {cluster, true},
}

// parseURL reads REDIS_URL. It does not use net/url as a whole, which has no
// lists of hosts with ports. Its errors quote nothing of the value: a password
// with an unescaped character may turn up in any part of it.
func parseURL(raw string) (address, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return address{}, errors.New("REDIS_URL must read redis://host:port/db, or another of the documented forms")
	}
	if strings.ContainsAny(rest, "# \t\r\n\x00") {
		return address{}, errors.New("REDIS_URL must have no spaces and no #; write special characters in user and password as %XX")
	}
	rest, rawQuery, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return address{}, errors.New("REDIS_URL has a malformed query; write special characters as %XX")
	}
	authority, path, _ := strings.Cut(rest, "/")
	userinfo, hosts := "", authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		userinfo, hosts = authority[:at], authority[at+1:]
	}

	var a address
	if a.user, a.password, err = parseUserinfo(userinfo); err != nil {
		return address{}, err
	}
	known, ok := schemes[scheme]
	switch {
	case scheme == "unix":
		err = a.unix(hosts, path, query)
	case !ok:
		err = errors.New("REDIS_URL must begin with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://")
	default:
		a.form = known.form
		a.secure = known.tls
		err = a.network(hosts, path, query)
	}
	if err != nil {
		return address{}, err
	}
	return a, nil
}

// parseUserinfo reads user:password, both percent-encoded.
func parseUserinfo(s string) (user, password string, err error) {
	user, password, hasPassword := strings.Cut(s, ":")
	if user, err = url.PathUnescape(user); err == nil {
		password, err = url.PathUnescape(password)
	}
	switch {
	case err != nil:
		return "", "", errors.New("REDIS_URL has a user or password with a % that begins no %XX; write % itself as %25")
	case user != "" && !hasPassword:
		return "", "", errors.New("REDIS_URL has a user but no password; a password alone reads redis://:password@host")
	}
	return user, password, nil
}

// unix reads what follows unix://.
func (a *address) unix(host, path string, query url.Values) error {
	socket, err := url.PathUnescape(path)
	if err != nil || host != "" || socket == "" {
		return errors.New("REDIS_URL must give a socket by its absolute path: unix:///path/to/socket")
	}
	a.addrs = []string{"/" + socket}
	if err := only(query, "db"); err != nil {
		return err
	}
	return a.database(query.Get("db"))
}

// network reads hosts, path and query of the forms that have hosts.
func (a *address) network(hosts, path string, query url.Values) error {
	if a.secure {
		if err := a.takeFiles(query); err != nil {
			return err
		}
	}
	port := "6379"
	if a.form == sentinel {
		port = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := hostPort(host, port)
		if err != nil {
			return err
		}
		a.addrs = append(a.addrs, addr)
	}
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	switch a.form {
	case sentinel:
		return a.throughSentinels(parts, query)
	case cluster:
		if p := parts[0]; len(parts) > 1 || p != "" && p != "0" {
			return errors.New("REDIS_URL must have nothing after the hosts of a Cluster, which has database 0 only")
		}
		return only(query)
	}
	if len(a.addrs) > 1 {
		return errors.New("REDIS_URL names several hosts: begin it with redis+sentinel:// or redis+cluster://")
	}
	if len(parts) > 1 {
		return errors.New("REDIS_URL must have nothing after the database's number")
	}
	if err := only(query); err != nil {
		return err
	}
	return a.database(parts[0])
}

// takeFiles takes what is about TLS out of the query.
func (a *address) takeFiles(query url.Values) (err error) {
	a.files, err = tlsfile.FromQuery(func(name string) string {
		if len(query[name]) != 1 {
			return "" // what stands twice is left for only
		}
		defer query.Del(name)
		return query.Get(name)
	})
	if err != nil {
		return fmt.Errorf("REDIS_URL %w", err)
	}
	return nil
}

func (a *address) throughSentinels(parts []string, query url.Values) error {
	master, err := url.PathUnescape(parts[0])
	if err != nil || master == "" || len(parts) > 2 {
		return errors.New("REDIS_URL must name the master that the Sentinels watch: redis+sentinel://host1,host2/master/db")
	}
	if err := only(query, "sentinel_username", "sentinel_password"); err != nil {
		return err
	}
	a.master = master
	a.sentinelUser, a.sentinelPassword = query.Get("sentinel_username"), query.Get("sentinel_password")
	if a.sentinelUser != "" && a.sentinelPassword == "" {
		return errors.New("REDIS_URL has a sentinel_username but no sentinel_password")
	}
	if len(parts) == 2 {
		return a.database(parts[1])
	}
	return nil
}

func (a *address) database(s string) error {
	if s == "" {
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return errors.New("REDIS_URL must number the database from 0 on")
	}
	a.db = int(n)
	return nil
}

// hostPort completes host, host:port, [v6] or [v6]:port.
func hostPort(s, port string) (string, error) {
	host := s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("REDIS_URL must have ports from 1 to 65535; a password's special characters are written as %XX")
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, ok = strings.CutSuffix(inner, "]")
		if !ok || net.ParseIP(host) == nil {
			return "", errors.New("REDIS_URL has an IPv6 address that is none")
		}
	} else if host == "" || strings.ContainsAny(host, ":[]@%") {
		return "", errors.New("REDIS_URL must name a host: redis://host:port/db; an IPv6 address stands in brackets")
	}
	return net.JoinHostPort(host, port), nil
}

// only refuses query parameters that have no meaning, or stand twice.
func only(query url.Values, known ...string) error {
	for name, values := range query {
		if !slices.Contains(known, name) || len(values) > 1 {
			return errors.New("REDIS_URL has a parameter that is not known or stands twice; there are sentinel_username and sentinel_password for redis+sentinel://, db for unix://, and for rediss " + tlsfile.Parameters)
		}
	}
	return nil
}
