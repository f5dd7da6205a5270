package testkit

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Nginx runs nginx by the configuration in a file, before servers of the test's
// (host:port each), and returns the address it listens on, host:port. Of the
// file are changed: the lines "server api:8080 …;", of which each becomes one for
// each server, "listen 8080;", and /tmp/, which becomes a folder of the test's.
// It is killed when the test ends.
func Nginx(t testing.TB, file string, servers ...string) string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // which is not in everybody's PATH
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	conf := nginxConf(t, string(text), dir, port, servers)
	own := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(own, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-p", dir, "-e", "stderr", "-c", own}
	if out, err := exec.CommandContext(t.Context(), path, append(args, "-t")...).CombinedOutput(); err != nil {
		t.Fatalf("nginx, which `make test-deps` installs, does not take %s: %v\n%s", file, err, out)
	}
	log := filepath.Join(dir, "log")
	// One process, so that nothing is left of it once it is killed.
	proc, err := startProcess(t, dir, log, path, append(args, "-g", "daemon off; master_process off;")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proc.kill()
		if t.Failed() {
			t.Logf("the end of nginx's log:\n%s", logTail(log))
		}
	})
	addr := loopback(port)
	up := poll(startLimit, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return !proc.running()
		}
		_ = c.Close()
		return true
	})
	if !up || !proc.running() {
		t.Fatalf("nginx did not start:\n%s", logTail(log))
	}
	return addr
}

func nginxConf(t testing.TB, text, dir string, port int, servers []string) string {
	t.Helper()
	var out []string
	upstreams, listens := 0, 0
	for line := range strings.SplitSeq(text, "\n") {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "server api:8080"):
			upstreams++
			for _, s := range servers {
				out = append(out, strings.Replace(line, "api:8080", s, 1))
			}
		case trimmed == "listen 8080;":
			listens++
			out = append(out, "listen "+loopback(port)+";")
		case strings.HasPrefix(trimmed, "worker_connections"): // of one process, in a test
			out = append(out, "worker_connections "+strconv.Itoa(1000)+";")
		case strings.HasPrefix(trimmed, "worker_rlimit_nofile"): // only root may raise it
		default:
			out = append(out, strings.ReplaceAll(line, "/tmp/", dir+"/"))
		}
	}
	if upstreams == 0 || listens != 1 {
		t.Fatalf("nginx's configuration has %d lines of servers and %d of a port that tests know", upstreams, listens)
	}
	return strings.Join(out, "\n")
}
