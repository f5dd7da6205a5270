package testkit

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisServer is a redis-server that belongs to one test. Its methods fail the
// test rather than return errors; call them from the test's own goroutine.
type RedisServer struct {
	// Addr is host:port, or the socket's path when made by RedisUnix.
	Addr string
	// CAFile (PEM) and TLS verify the server's certificate; set by RedisTLS.
	CAFile string
	// KeyFile is the key of that certificate, which is a client's too.
	KeyFile string
	TLS     *tls.Config

	t        testing.TB
	path     string // of redis-server
	dir      string
	network  string // tcp or unix
	ip       string // that it listens on
	password string
	conf     []string // lines of redis.conf
	args     []string // after it on the command line
	proc     *process
}

// Redis starts a redis-server. Each conf is a line of redis.conf, for example
// "appendonly yes" or "requirepass secret"; without any the server keeps
// nothing on disk. It is killed when the test ends.
func Redis(t testing.TB, conf ...string) *RedisServer {
	t.Helper()
	s := newRedis(t, "tcp", conf)
	s.startOnFreePort("port")
	return s
}

// RedisUnix is Redis on a Unix socket only.
func RedisUnix(t testing.TB, conf ...string) *RedisServer {
	t.Helper()
	s := newRedis(t, "unix", conf)
	s.Addr = filepath.Join(s.dir, "redis.sock")
	s.conf = append(s.conf, "port 0", "unixsocket "+s.Addr)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// RedisTLS is Redis with TLS only, its certificate made for this test.
func RedisTLS(t testing.TB, conf ...string) *RedisServer {
	t.Helper()
	s := newRedis(t, "tcp", append([]string{"tls-auth-clients no"}, conf...))
	s.TLS, s.CAFile, s.KeyFile = s.certify()
	s.conf = append(s.conf, "port 0", "tls-cert-file cert.pem", "tls-key-file key.pem", "tls-ca-cert-file cert.pem")
	s.startOnFreePort("tls-port")
	return s
}

func newRedis(t testing.TB, network string, conf []string) *RedisServer {
	t.Helper()
	s := &RedisServer{
		t:       t,
		path:    program(t, "redis-server", "redis-server"),
		dir:     serverDir(t, "redis"),
		network: network,
		ip:      localhost,
		conf: append([]string{
			"bind 127.0.0.1", `save ""`, "daemonize no", "enable-debug-command local",
			// Replicas are served at once instead of after a delay of 5 s.
			"repl-diskless-sync-delay 0",
		}, conf...),
	}
	for _, line := range conf {
		if password, ok := strings.CutPrefix(line, "requirepass "); ok {
			s.password = password
		}
		if ip, ok := strings.CutPrefix(line, "bind "); ok {
			s.ip = ip
		}
	}
	t.Cleanup(func() {
		if s.proc != nil {
			s.proc.kill()
		}
	})
	return s
}

// startOnFreePort starts the server on a port for the given directive. Another
// test process may take the port in between, so it tries several.
func (s *RedisServer) startOnFreePort(directive string) {
	s.t.Helper()
	var err error
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		s.Addr = net.JoinHostPort(s.ip, strconv.Itoa(port))
		conf := s.conf
		s.conf = append(conf[:len(conf):len(conf)], directive+" "+strconv.Itoa(port))
		if err = s.start(); err == nil {
			return
		}
		s.conf = conf
	}
	s.t.Fatal(err)
}

// start writes redis.conf and runs the server until it answers.
func (s *RedisServer) start() error {
	conf := strings.Join(s.conf, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, "redis.conf"), []byte(conf), 0o600); err != nil {
		return fmt.Errorf("writing redis.conf: %w", err)
	}
	return s.run()
}

// run starts redis-server on the redis.conf as it is (a Sentinel has it
// rewritten) and returns when it answers.
func (s *RedisServer) run() error {
	s.t.Helper()
	logFile := filepath.Join(s.dir, "redis.log")
	proc, err := startProcess(s.t, s.dir, logFile, s.path, append([]string{"redis.conf"}, s.args...)...)
	if err != nil {
		return err
	}
	s.proc = proc
	up := poll(startLimit, func() bool { return !proc.running() || s.answers() })
	if up && proc.running() {
		return nil
	}
	proc.kill()
	return fmt.Errorf("redis-server did not start on %s; its log ends:\n%s", s.Addr, logTail(logFile))
}

// answers reports whether the server carries out commands: not so while it
// still loads its data.
func (s *RedisServer) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c := redis.NewClient(s.Options())
	defer c.Close()
	return c.Ping(ctx).Err() == nil
}

// Options returns what a go-redis client needs to connect to database 0.
func (s *RedisServer) Options() *redis.Options {
	return &redis.Options{Network: s.network, Addr: s.Addr, Password: s.password, TLSConfig: s.TLS}
}

// URL returns the server's address as REDIS_URL takes it. A rediss:// client
// must also be told of CAFile or TLS.
func (s *RedisServer) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr, Path: "/0"}
	switch {
	case s.network == "unix":
		u = url.URL{Scheme: "unix", Path: s.Addr}
	case s.TLS != nil:
		u.Scheme = "rediss"
	}
	if s.password != "" {
		u.User = url.UserPassword("", s.password)
	}
	return u.String()
}

// Client returns a new client, closed when the test ends.
func (s *RedisServer) Client() *redis.Client {
	c := redis.NewClient(s.Options())
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// FlushAll empties the server, as an operator's FLUSHALL does.
func (s *RedisServer) FlushAll() {
	s.t.Helper()
	s.do("FLUSHALL")
}

// do runs one command and returns its answer.
func (s *RedisServer) do(args ...any) any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := redis.NewClient(s.Options())
	defer c.Close()
	v, err := c.Do(ctx, args...).Result()
	if err != nil {
		s.t.Fatalf("redis %s: %v: %v", s.Addr, args, err)
	}
	return v
}

// info returns the server's INFO replication.
func (s *RedisServer) info() string {
	s.t.Helper()
	return fmt.Sprint(s.do("INFO", "replication"))
}

// Stop ends the server in good order and waits for its end.
func (s *RedisServer) Stop() {
	s.t.Helper()
	if err := s.proc.stop(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server as kill -9 does and waits for its end.
func (s *RedisServer) Kill() { s.proc.kill() }

// Restart starts the server again on the same address and folder, stopping it
// first when it runs. Without persistence ("appendonly yes") it comes back
// empty.
func (s *RedisServer) Restart() {
	s.t.Helper()
	if s.proc.running() {
		s.Stop()
	}
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause suspends the server: connections stay open and nothing is answered
// until Resume.
func (s *RedisServer) Pause() {
	s.t.Helper()
	if err := s.proc.suspend(); err != nil {
		s.t.Fatalf("pausing redis %s: %v", s.Addr, err)
	}
}

// Resume ends a Pause.
func (s *RedisServer) Resume() {
	s.t.Helper()
	if err := s.proc.resume(); err != nil {
		s.t.Fatalf("resuming redis %s: %v", s.Addr, err)
	}
}
