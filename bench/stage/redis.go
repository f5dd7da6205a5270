package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server of the bench's own. It writes nothing to disk, for all
// contestants alike.
type Redis struct {
	Addr   string // host:port
	dir    string
	proc   *process
	client *redis.Client
}

// ErrAbsent says that a program is not on this machine: what needs it is left
// out.
var ErrAbsent = errors.New("is not installed here")

// StartRedis starts a server on a free port.
func StartRedis(ctx context.Context) (_ *Redis, err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redis-server %w", ErrAbsent)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &Redis{Addr: "127.0.0.1:" + strconv.Itoa(port)}
	if r.dir, err = os.MkdirTemp("", "postrider-bench-redis-"); err != nil {
		return nil, fmt.Errorf("making a folder for Redis: %w", err)
	}
	r.client = redis.NewClient(&redis.Options{Addr: r.Addr})
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	cmd := exec.Command(path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "no", "--maxmemory-policy", "noeviction")
	if r.proc, err = launch(r.dir, cmd); err != nil {
		return nil, err
	}
	if err := r.proc.await(ctx, func(ctx context.Context) error { return r.client.Ping(ctx).Err() }); err != nil {
		return nil, err
	}
	return r, nil
}

// Flush empties it.
func (r *Redis) Flush(ctx context.Context) error {
	if err := r.client.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("emptying Redis: %w", err)
	}
	return nil
}

// Memory is how many bytes Redis has allocated (used_memory of INFO).
func (r *Redis) Memory(ctx context.Context) (int64, error) { return r.Info(ctx, "used_memory") }

// Info is one of the numbers of INFO.
func (r *Redis) Info(ctx context.Context, name string) (int64, error) {
	info, err := r.client.Info(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("asking Redis for its %s: %w", name, err)
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("asking Redis for its %s: INFO does not tell it", name)
}

// CPU is the processor time that the server has used, to a hundredth of a second.
func (r *Redis) CPU() (time.Duration, error) { return r.proc.cpu() }

// RedisVersion is that of the server on this machine; empty where there is none.
func RedisVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(out), "v=")
	version, _, _ := strings.Cut(rest, " ")
	return version
}

// Close stops the server and removes its folder.
func (r *Redis) Close() error {
	errs := []error{r.client.Close()}
	if r.proc != nil {
		errs = append(errs, r.proc.stop(syscall.SIGTERM))
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}
