package socketio

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Server serves clients under one path. Its namespaces and handlers are to be
// set up before the first request comes in. It is safe for concurrent use.
type Server struct {
	cfg     Config
	ctx     context.Context // of all handlers; ends when Shutdown's patience does
	cancel  context.CancelFunc
	metrics *metrics

	mu         sync.Mutex
	closed     bool
	sessions   map[string]*session // by id
	namespaces map[string]*Namespace
	alive      sync.WaitGroup // a count for each session that still has goroutines
}

// New makes a server without any namespace. It holds nothing that must be
// released until a request comes in; then Shutdown must be called.
func New(cfg Config) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		cfg: cfg.withDefaults(), ctx: ctx, cancel: cancel, metrics: newMetrics(),
		sessions: map[string]*session{}, namespaces: map[string]*Namespace{},
	}
}

// Namespace returns the namespace of that name, "/" being the main one, and
// makes it when it is new. A client's CONNECT to any other is refused.
func (s *Server) Namespace(name string) *Namespace {
	if name == "" || name[0] != '/' {
		name = "/" + name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespaces[name]
	if n == nil {
		n = newNamespace(name)
		s.namespaces[name] = n
	}
	return n
}

// find returns the namespace, or nil.
func (s *Server) find(namespace string) *Namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.namespaces[namespace]
}

// Sessions is how many clients are connected, each counting once, however many
// namespaces it is in.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// adopt takes a session in, unless the server shuts down.
func (s *Server) adopt(session *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[session.id] = session
	s.alive.Add(1)
	return true
}

// closing tells whether Shutdown was called.
func (s *Server) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) session(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

func (s *Server) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
}

// Shutdown refuses new sessions and lets those that there are go, one after the
// other over DrainSpread in an order by chance: what is queued for them is
// sent, and clients come back by themselves, elsewhere. It returns when all
// have gone and their handlers have returned. When ctx ends before, it cuts off
// the rest, ends the contexts of their handlers, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cancel()
	leaving := s.close()
	err := s.letGo(ctx, leaving)
	gone := make(chan struct{})
	go func() {
		s.alive.Wait()
		close(gone)
	}()
	if err == nil {
		select {
		case <-gone:
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	for _, session := range leaving {
		session.end(ServerShutdown)
	}
	s.cancel()
	select {
	case <-gone:
	case <-time.After(handlerGrace):
		err = errors.Join(err, errors.New("handlers did not return when their context ended"))
	}
	return fmt.Errorf("waiting for clients to go: %w", err)
}

// handlerGrace is what handlers have to return after their context has ended.
const handlerGrace = time.Second

// close refuses new sessions, and lists those there are, in an order by chance.
func (s *Server) close() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	out := make([]*session, 0, len(s.sessions))
	for _, session := range s.sessions {
		out = append(out, session)
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// letGo finishes the sessions at moments by chance, DrainSpread apart in the
// mean from the first to the last.
func (s *Server) letGo(ctx context.Context, leaving []*session) error {
	if len(leaving) == 0 {
		return nil
	}
	step := s.cfg.DrainSpread / time.Duration(len(leaving))
	for i, session := range leaving {
		if i > 0 && step > 0 {
			pause := time.NewTimer(rand.N(2 * step))
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return ctx.Err()
			}
		}
		session.finish(ServerShutdown)
	}
	return nil
}

var _ http.Handler = (*Server)(nil)
