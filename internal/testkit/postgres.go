package testkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// postgresUser owns everything in a test's PostgreSQL.
const postgresUser = "postrider"

// PostgresCluster is a PostgreSQL server that belongs to one test. Its methods
// fail the test rather than return errors; call them from the test's own
// goroutine.
type PostgresCluster struct {
	pg *postgres
	t  testing.TB
}

// Postgres returns the DATABASE_URL of a new, empty database. All tests of the
// process share one server, started at its first use, that does not fsync; the
// database is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	pg, err := sharedPostgres()
	if err != nil {
		t.Fatal(err)
	}
	return pg.database(t)
}

// PostgresServer starts a server of the test's own, to be stopped, killed or
// cut off. Each setting is one of postgresql.conf, for example "fsync=on"
// (off unless given). It takes about two seconds; tests that only need a
// database take Postgres.
func PostgresServer(t testing.TB, settings ...string) *PostgresCluster {
	t.Helper()
	pg, err := newPostgres(settings...)
	if err != nil {
		t.Fatal(err)
	}
	c := &PostgresCluster{pg: pg, t: t}
	t.Cleanup(func() {
		if err := pg.stop("immediate"); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(pg.dir)
	})
	return c
}

// Database returns the DATABASE_URL of a new, empty database.
func (c *PostgresCluster) Database() string {
	c.t.Helper()
	return c.pg.database(c.t)
}

// Stop ends the server in good order, cutting its connections.
func (c *PostgresCluster) Stop() { c.t.Helper(); c.must(c.pg.stop("fast")) }

// Kill ends the server as a crash does: nothing is flushed, and the next Start
// recovers from the write-ahead log.
func (c *PostgresCluster) Kill() { c.t.Helper(); c.must(c.pg.stop("immediate")) }

// Start starts a stopped server again on the same port and data.
func (c *PostgresCluster) Start() { c.t.Helper(); c.must(c.pg.start()) }

// DropConnections ends every session on the database that the URL names, as an
// operator's pg_terminate_backend does, and returns how many there were.
func (c *PostgresCluster) DropConnections(databaseURL string) int {
	c.t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		c.t.Fatalf("reading the database URL: %v", err)
	}
	var n int
	c.must(c.pg.admin(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1`,
			strings.TrimPrefix(u.Path, "/")).Scan(&n)
	}))
	return n
}

// ServeTLS has the server take TLS, after a restart, by a certificate for
// 127.0.0.1 and localhost whose authority's PEM file it returns.
func (c *PostgresCluster) ServeTLS() (caFile string) {
	c.t.Helper()
	certFile, keyFile := filepath.Join(c.pg.data(), "server.crt"), filepath.Join(c.pg.data(), "server.key")
	Recertify(c.t, certFile, keyFile)
	cred, err := unprivileged()
	c.must(err)
	if cred != nil {
		c.must(errors.Join(os.Chown(certFile, int(cred.Uid), int(cred.Gid)), os.Chown(keyFile, int(cred.Uid), int(cred.Gid))))
	}
	c.pg.settings = append(c.pg.settings, "ssl=on")
	c.Stop()
	c.Start()
	return certFile
}

func (c *PostgresCluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// postgres is a server's folder and programs. No goroutine belongs to it, so
// that the one all tests share does not look like a leak.
type postgres struct {
	bin      string // folder of pg_ctl
	dir      string
	ip       string // that it listens on
	port     int
	settings []string
	pid      int // 0 when stopped
	reaper   *reaper

	mu        sync.Mutex // guards databases: tests run in parallel
	databases int
}

// sharedPostgres starts the process's common server at its first use; the
// reaper ends it.
var sharedPostgres = sync.OnceValues(func() (*postgres, error) { return newPostgres() })

// newPostgres makes a data folder and starts a server on it. When it fails it
// leaves nothing behind but what the reaper removes.
func newPostgres(settings ...string) (*postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	r, err := theReaper()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.root, "postgres-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	pg := &postgres{bin: bin, dir: dir, ip: localhost, settings: settings, reaper: r}
	for _, s := range settings {
		if ip, ok := strings.CutPrefix(s, "listen_addresses="); ok {
			pg.ip = ip
		}
	}
	if cred, err := unprivileged(); err != nil {
		return nil, err
	} else if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, fmt.Errorf("giving PostgreSQL its folder: %w", err)
		}
	}
	err = pg.run("initdb", "--pgdata", pg.data(), "--username", postgresUser, "--auth", "trust",
		"--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
	if err != nil {
		return nil, err
	}
	if err := pg.trustNetwork(); err != nil {
		return nil, err
	}
	for range 5 { // another process may take the port before the server does
		if pg.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = pg.start(); err == nil {
			return pg, nil
		}
	}
	return nil, err
}

// trustNetwork lets the hosts of the server's network in; initdb lets in this
// one alone.
func (pg *postgres) trustNetwork() error {
	hba, err := os.OpenFile(filepath.Join(pg.data(), "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("opening PostgreSQL's pg_hba.conf: %w", err)
	}
	_, err = hba.WriteString("host all all samenet trust\n")
	if err := errors.Join(err, hba.Close()); err != nil {
		return fmt.Errorf("writing PostgreSQL's pg_hba.conf: %w", err)
	}
	return nil
}

func (pg *postgres) data() string { return filepath.Join(pg.dir, "data") }
func (pg *postgres) log() string  { return filepath.Join(pg.dir, "log") }

// start runs the server and returns when it takes connections.
func (pg *postgres) start() error {
	settings := append([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(pg.port), "unix_socket_directories=",
		"fsync=off", "full_page_writes=off", "max_connections=300", "shared_buffers=64MB",
	}, pg.settings...)
	options := "-c " + strings.Join(settings, " -c ")
	err := pg.run("pg_ctl", "start", "--wait", "--silent", "--timeout", strconv.Itoa(int(startLimit.Seconds())),
		"--pgdata", pg.data(), "--log", pg.log(), "--options", options)
	if err != nil {
		return fmt.Errorf("%w; its log ends:\n%s", err, logTail(pg.log()))
	}
	// The file's first line is the pid (PostgreSQL manual, "Database File Layout").
	content, err := os.ReadFile(filepath.Join(pg.data(), "postmaster.pid"))
	if err != nil {
		return fmt.Errorf("reading PostgreSQL's pid: %w", err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	if pg.pid, err = strconv.Atoi(first); err != nil {
		return fmt.Errorf("reading PostgreSQL's pid: %w", err)
	}
	// QUIT ends the server and its children at once ("Shutting Down the Server").
	return pg.reaper.watch(pg.pid, "QUIT")
}

// stop ends the server by pg_ctl's mode: fast or immediate. A stopped one is
// left alone.
func (pg *postgres) stop(mode string) error {
	if pg.pid == 0 {
		return nil
	}
	if err := pg.run("pg_ctl", "stop", "--wait", "--silent", "--mode", mode, "--pgdata", pg.data()); err != nil {
		return err
	}
	pg.reaper.forget(pg.pid)
	pg.pid = 0
	return nil
}

// run runs one of PostgreSQL's programs to its end.
func (pg *postgres) run(name string, args ...string) error {
	cred, err := unprivileged()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(pg.bin, name), args...)
	cmd.Dir = pg.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running PostgreSQL's %s: %w: %s", name, err, out)
	}
	return nil
}

func (pg *postgres) url(database string) string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", postgresUser, net.JoinHostPort(pg.ip, strconv.Itoa(pg.port)), database)
}

// database makes a database for the test and drops it at its end.
func (pg *postgres) database(t testing.TB) string {
	t.Helper()
	pg.mu.Lock()
	pg.databases++
	name := fmt.Sprintf("test_%d", pg.databases)
	pg.mu.Unlock()
	err := pg.admin(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE template0")
		return err
	})
	if err != nil {
		t.Fatalf("making a test database: %v", err)
	}
	t.Cleanup(func() {
		if pg.pid == 0 {
			return // the test has stopped its own server
		}
		err := pg.admin(func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
			return err
		})
		if err != nil {
			t.Errorf("dropping a test database: %v", err)
		}
	})
	return pg.url(name)
}

// admin runs do on a connection to the maintenance database.
func (pg *postgres) admin(do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, pg.url("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to the test's PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	return do(ctx, conn)
}

// postgresBin returns the folder of PostgreSQL's server programs. Debian keeps
// them out of PATH, one folder a version: the newest is taken.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if err == nil && len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return debianVersion(a) - debianVersion(b) })), nil
	}
	path, err := exec.LookPath("pg_ctl")
	if err != nil {
		return "", fmt.Errorf("this test needs PostgreSQL's server programs (pg_ctl): run `make test-deps`, or install Debian's package postgresql")
	}
	return filepath.Dir(path), nil
}

// debianVersion returns 15 for /usr/lib/postgresql/15/bin/pg_ctl.
func debianVersion(path string) int {
	v, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return v
}

// unprivileged returns the user to run PostgreSQL as, which refuses to be root;
// nil when this process is not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("reading the uid of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("reading the gid of %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody")
}
