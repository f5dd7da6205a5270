package testkit

import (
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// Service is a place for one of our programs that serves HTTP: it may be
// started there again and again, with the same settings and address.
type Service struct {
	*Program        // the last one started
	Addr     string // host:port of its HTTP

	t       testing.TB
	path    string
	args    []string
	environ []string
}

// NewService makes a place on a free port for the program at the path, with the
// settings and nothing else in its environment; Start must follow.
func NewService(t testing.TB, environ []string, path string, args ...string) *Service {
	t.Helper()
	return NewServiceOn(t, localhost, environ, path, args...)
}

// NewServiceOn is NewService on another address; the program is started where
// that is one.
func NewServiceOn(t testing.TB, ip string, environ []string, path string, args ...string) *Service {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort(ip, strconv.Itoa(port))
	return &Service{
		Addr: addr, t: t, path: path, args: args,
		environ: append(environ[:len(environ):len(environ)], "POSTRIDER_HTTP_ADDR="+addr),
	}
}

// Start starts the program; the one before must have ended. It does not wait
// until it is ready.
func (s *Service) Start() {
	s.t.Helper()
	s.Program = Exec(s.t, s.environ, s.path, s.args...)
}

// pages asks for the health of programs, and keeps no connections.
var pages = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Ready reports whether the program says that it is.
func (s *Service) Ready() bool {
	res, err := pages.Get("http://" + s.Addr + "/readyz")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// AwaitReady returns when the program says that it is ready.
func (s *Service) AwaitReady() {
	s.t.Helper()
	WaitFor(s.t, startLimit, s.path+" to be ready", s.Ready)
}
