package stage

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Sink is an SMTP server (RFC 5321) that takes every mail at once and keeps
// none. It offers nothing but what is needed, so that it costs as little as can
// be.
type Sink struct {
	Addr     string // host:port
	mails    atomic.Int64
	last     atomic.Int64 // Unix time in nanoseconds of the last mail
	listener net.Listener
	conns    sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// NewSink starts a sink.
func NewSink() (*Sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for mails: %w", err)
	}
	s := &Sink{Addr: l.Addr().String(), listener: l, open: map[net.Conn]struct{}{}}
	s.conns.Go(s.accept)
	return s, nil
}

// Mails is how many were taken, and when the last of them was.
func (s *Sink) Mails() (n int, last time.Time) {
	n = int(s.mails.Load())
	return n, time.Unix(0, s.last.Load())
}

// Close cuts all connections.
func (s *Sink) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.conns.Wait()
	return err
}

func (s *Sink) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		late := s.closed
		if !late {
			s.open[c] = struct{}{}
		}
		s.mu.Unlock()
		if late {
			_ = c.Close()
			return
		}
		s.conns.Go(func() {
			s.converse(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		})
	}
}

// converse serves one connection until it ends.
func (s *Sink) converse(c net.Conn) {
	r := bufio.NewReader(c)
	say := func(line string) bool { _, err := c.Write([]byte(line + "\r\n")); return err == nil }
	for ok := say("220 sink ESMTP"); ok; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			ok = say("250-sink\r\n250-8BITMIME\r\n250 PIPELINING")
		case "HELO", "MAIL", "RCPT", "RSET", "NOOP":
			ok = say("250 ok")
		case "DATA":
			if ok = say("354 go on"); !ok {
				return
			}
			if !skipMail(r) {
				return
			}
			s.last.Store(time.Now().UnixNano())
			s.mails.Add(1)
			ok = say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			ok = say("502 not known here")
		}
	}
}

// skipMail reads to the line with a dot alone (RFC 5321 section 4.1.1.4).
func skipMail(r *bufio.Reader) bool {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return false
		}
		if err == nil && string(line) == ".\r\n" {
			return true
		}
	}
}
