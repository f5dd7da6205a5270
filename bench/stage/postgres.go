package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL of the bench's own, with its defaults but for more
// memory and connections: each commit is on disk before it is told.
type Postgres struct {
	bin, dir string
	port     int
	proc     *process
	made     int // databases so far
}

// StartPostgres makes an empty cluster and starts a server on it.
func StartPostgres(ctx context.Context) (_ *Postgres, err error) {
	pg := &Postgres{}
	if pg.bin, err = postgresBin(); err != nil {
		return nil, err
	}
	if pg.port, err = freePort(); err != nil {
		return nil, err
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if pg.dir, err = os.MkdirTemp("", "postrider-bench-postgres-"); err != nil {
		return nil, fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pg.Close())
		}
	}()
	if who != nil {
		if err := os.Chown(pg.dir, int(who.Uid), int(who.Gid)); err != nil {
			return nil, fmt.Errorf("giving PostgreSQL its folder: %w", err)
		}
	}
	data := filepath.Join(pg.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(pg.bin, "initdb"), "--pgdata", data, "--username", "bench",
		"--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = pg.dir, &syscall.SysProcAttr{Credential: who}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("making PostgreSQL's files: %w: %s", err, out)
	}
	server := exec.Command(filepath.Join(pg.bin, "postgres"), "-D", data,
		"-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(pg.port), "-c", "unix_socket_directories=",
		"-c", "max_connections=1000", "-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB")
	server.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if pg.proc, err = launch(pg.dir, server); err != nil {
		return nil, err
	}
	return pg, pg.proc.await(ctx, func(ctx context.Context) error { return execute(ctx, pg.url("postgres"), "SELECT 1") })
}

// Database makes an empty database and returns its URL. The one before it is
// dropped: nobody uses it any more.
func (pg *Postgres) Database(ctx context.Context) (string, error) {
	if pg.made > 0 {
		if err := execute(ctx, pg.url("postgres"), fmt.Sprintf("DROP DATABASE IF EXISTS bench_%d WITH (FORCE)", pg.made)); err != nil {
			return "", err
		}
	}
	pg.made++
	name := fmt.Sprintf("bench_%d", pg.made)
	if err := execute(ctx, pg.url("postgres"), "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", err
	}
	// So that the last contestant's writes are not paid by the next.
	if err := execute(ctx, pg.url("postgres"), "CHECKPOINT"); err != nil {
		return "", err
	}
	return pg.url(name), nil
}

// PostgresVersion is that of the server on this machine; empty where there is
// none.
func PostgresVersion(ctx context.Context) string {
	bin, err := postgresBin()
	if err != nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "postgres (PostgreSQL) "))
}

func (pg *Postgres) url(database string) string {
	return fmt.Sprintf("postgres://bench@127.0.0.1:%d/%s?sslmode=disable", pg.port, database)
}

// execute runs a statement on the database at the URL.
func execute(ctx context.Context, url, statement string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("running %q: %w", statement, err)
	}
	return nil
}

// Number is what a query on the database at the URL gives: one whole number.
func (pg *Postgres) Number(ctx context.Context, url, query string) (n int64, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, query).Scan(&n); err != nil {
		return 0, fmt.Errorf("running %q: %w", query, err)
	}
	return n, nil
}

// Compact gives back what the database's dead rows and half-full pages take.
func (pg *Postgres) Compact(ctx context.Context, url string) error {
	return execute(ctx, url, "VACUUM FULL")
}

// CPU is the processor time that the server has used with all of its processes,
// to a hundredth of a second each.
func (pg *Postgres) CPU() (time.Duration, error) { return pg.proc.cpu() }

// Close stops the server and removes its files.
func (pg *Postgres) Close() error {
	var err error
	if pg.proc != nil {
		// "Immediate shutdown" of PostgreSQL's manual: what it would still write is
		// removed anyway.
		err = pg.proc.stop(syscall.SIGQUIT)
	}
	return errors.Join(err, os.RemoveAll(pg.dir))
}

// postgresBin is the folder of PostgreSQL's server programs, which Debian keeps
// out of PATH.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err == nil && len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL's server %w", ErrAbsent)
	}
	return filepath.Dir(path), nil
}

// unprivileged is whom to run PostgreSQL as, which refuses to be root; nil when
// we are not root.
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
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}
