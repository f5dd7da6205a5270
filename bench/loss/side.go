package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"

	"github.com/postrider/postrider/bench/crowd"
	"github.com/postrider/postrider/bench/fleet"
	"github.com/postrider/postrider/bench/stage"
)

// The key by which notifications are posted to Postrider.
const apiKey = "the-key-of-the-loss-run-guards-nothing"

// side is one of the two that are compared: its two processes, and what they
// need.
type side struct {
	name  string
	plain bool // Node's socket.io, which emits and no more
	node  string
	redis *stage.Redis
	pg    *stage.Postgres // nil with plain

	processes [2]*stage.Actor
	others    []*stage.Actor // the worker and the scheduler
	settings  []string
	balancer  *balancer

	mu    sync.Mutex
	addrs [2]string // host:port; empty while a process is away
}

// ready is what a process says first.
type ready struct{ Addr string }

// open starts all but the clients.
func (s *side) open(ctx context.Context) (err error) {
	if s.node, err = exec.LookPath("node"); err != nil {
		return errors.New("node is not installed here")
	}
	if s.redis, err = stage.StartRedis(ctx); err != nil {
		return err
	}
	if s.balancer, err = newBalancer(); err != nil {
		return err
	}
	if !s.plain {
		if err := s.openPostrider(ctx); err != nil {
			return err
		}
	}
	for i := range s.processes {
		if err := s.start(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// openPostrider starts PostgreSQL, the worker, and the scheduler, which sends
// again what a killed process had accepted and not yet sent.
func (s *side) openPostrider(ctx context.Context) (err error) {
	if s.pg, err = stage.StartPostgres(ctx); err != nil {
		return err
	}
	database, err := s.pg.Database(ctx)
	if err != nil {
		return err
	}
	s.settings = []string{
		"REDIS_URL=redis://" + s.redis.Addr + "/0", "DATABASE_URL=" + database, "POSTRIDER_HTTP_ADDR=127.0.0.1:0",
		"POSTRIDER_API_KEYS=loss:" + apiKey + ":jobs:write+notifications", "POSTRIDER_JWT_SECRET=" + crowd.Secret,
		"POSTRIDER_LOG_LEVEL=error", "POSTRIDER_RATE_LIMIT_KEY=off", "POSTRIDER_RATE_LIMIT_ADDR=off", "POSTRIDER_LIVE_HANDSHAKES=off",
		"SMTP_URL=smtp://127.0.0.1:25?tls=none", "MAIL_FROM=nobody@example.com", // which have to be set; there are no mails
	}
	for _, role := range []string{"worker", "scheduler"} { // the first makes the tables
		p, err := fleet.Start(ctx, role, s.settings)
		if err != nil {
			return err
		}
		s.others = append(s.others, p.Actor)
	}
	return nil
}

// start starts one of the two processes, anew after it was killed.
func (s *side) start(ctx context.Context, i int) (err error) {
	var first ready
	if s.plain {
		spec, marshalErr := json.Marshal(map[string]string{"redis": s.redis.Addr})
		if marshalErr != nil {
			return fmt.Errorf("encoding a spec: %w", marshalErr)
		}
		cmd := exec.Command(s.node, "loss/plain.mjs", string(spec))
		cmd.Env = append(os.Environ(), "NODE_ENV=production")
		s.processes[i], err = stage.StartActor(ctx, s.name, cmd, &first)
	} else {
		var p *fleet.Process
		if p, err = fleet.Start(ctx, "api", s.settings); err == nil {
			s.processes[i], first.Addr = p.Actor, p.Addr
		}
	}
	s.moved(i, first.Addr)
	return err
}

// kill ends one of the two by kill -9.
func (s *side) kill(i int) {
	s.processes[i].Kill()
	s.processes[i] = nil
	s.moved(i, "")
}

// addr is where a process is; empty while it is away.
func (s *side) addr(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs[i]
}

// moved notes where a process is, and has the balancer know who is there.
func (s *side) moved(i int, addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs[i] = addr
	var there []string
	for _, addr := range s.addrs {
		if addr != "" {
			there = append(there, addr)
		}
	}
	s.balancer.to(there...)
}

// clients starts so many, and returns when all are connected.
func (s *side) clients(ctx context.Context, n int) (*stage.Actor, error) {
	type client struct {
		User  string `json:"user"`
		Token string `json:"token"`
	}
	asked := struct {
		URL     string   `json:"url"`
		Plain   bool     `json:"plain"`
		Clients []client `json:"clients"`
	}{URL: "http://" + s.balancer.addr, Plain: s.plain}
	for i := range n {
		user := fmt.Sprint(i)
		var rooms []string
		if inTeam(i) {
			rooms = []string{team}
		}
		token, err := crowd.Token(user, rooms...)
		if err != nil {
			return nil, err
		}
		asked.Clients = append(asked.Clients, client{user, token})
	}
	spec, err := json.Marshal(asked)
	if err != nil {
		return nil, fmt.Errorf("encoding the clients: %w", err)
	}
	return stage.StartActor(ctx, "the clients", exec.Command(s.node, "loss/clients.mjs", string(spec)), nil)
}

func (s *side) close() error {
	var errs []error
	if s.balancer != nil {
		errs = append(errs, s.balancer.close())
	}
	for _, a := range append(s.processes[:], s.others...) {
		if a != nil {
			errs = append(errs, a.Close())
		}
	}
	if s.pg != nil {
		errs = append(errs, s.pg.Close())
	}
	if s.redis != nil {
		errs = append(errs, s.redis.Close())
	}
	return errors.Join(errs...)
}
