package testkit

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Exim is a real mail server of its own on 127.0.0.1, which takes every mail
// and delivers none but by Deliver. It offers STARTTLS and AUTH PLAIN, asks for no login, and
// refuses some recipients by their local part: nobody@ for good (550 5.1.1),
// later@ for now (451 4.7.1 too many mails).
type Exim struct {
	t     testing.TB
	path  string // of the program
	dir   string
	addr  string
	roots *x509.CertPool
}

// eximUser and eximPassword are whom it lets in.
const eximUser, eximPassword = "ann", "s3cret"

const eximConf = `
primary_hostname = mail.test
exim_user = %[1]d
exim_group = %[2]d
spool_directory = %[3]s/spool
log_file_path = %[3]s/%%slog
pid_file_path = %[3]s/pid
local_interfaces = 127.0.0.1
keep_environment =
queue_only
smtp_accept_max = 200
smtp_accept_max_per_connection = %[4]d
tls_advertise_hosts = *
tls_certificate = %[3]s/cert.pem
tls_privatekey = %[3]s/key.pem
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny local_parts = nobody
       message = 5.1.1 no such user
  defer local_parts = later
       message = 4.7.1 too many mails
  accept
begin routers
bounces:
  driver = manualroute
  senders = :
  transport = out
  route_data = ${readfile{%[3]s/bounces}{}}
  self = send
mails:
  driver = manualroute
  transport = out
  route_data = ${readfile{%[3]s/mails}{}}
  self = send
begin transports
out:
  driver = smtp
  user = %[7]d
  group = %[8]d
  allow_localhost
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{%[5]s}}{eq{$auth3}{%[6]s}}}}
  server_advertise_condition = yes
`

// NewExim starts a server that ends each connection with a 421 after so many
// mails. It ends with the test.
func NewExim(t testing.TB, mailsPerConnection int) *Exim {
	t.Helper()
	path := "/usr/sbin/exim4" // often not in the PATH of a user
	if _, err := os.Stat(path); err != nil {
		path = program(t, "exim4", "exim4-daemon-light")
	}
	s := &Exim{t: t, path: path, dir: serverDir(t, "exim")}
	config, roots, err := selfSigned()
	if err == nil {
		s.roots = roots
		err = writePEM(config.Certificates[0], filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem"))
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(s.dir, "spool"), 0o711)
	}
	if err == nil {
		err = os.Chmod(s.dir, 0o711) // who delivers must come by
	}
	if err == nil {
		uid, gid := eximDelivers()
		conf := fmt.Sprintf(eximConf, os.Getuid(), os.Getgid(), s.dir, mailsPerConnection, eximUser, eximPassword, uid, gid)
		err = os.WriteFile(filepath.Join(s.dir, "exim.conf"), []byte(conf), 0o600)
	}
	if err != nil {
		t.Fatalf("preparing exim4: %v", err)
	}
	for range 5 { // the port may be taken before it is bound
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func (s *Exim) start() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.addr = loopback(port)
	logFile := filepath.Join(s.dir, "output")
	proc, err := startProcess(s.t, s.dir, logFile, s.path, "-C", filepath.Join(s.dir, "exim.conf"), "-bdf", "-oX", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	up := poll(startLimit, func() bool {
		if !proc.running() {
			return true
		}
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if up && proc.running() {
		s.t.Cleanup(proc.kill)
		return nil
	}
	proc.kill()
	return fmt.Errorf("exim4 did not start on %s; it said:\n%s\n%s", s.addr, logTail(logFile), logTail(filepath.Join(s.dir, "mainlog")))
}

// URL is the SMTP_URL of the server, with credentials.
func (s *Exim) URL() string {
	return fmt.Sprintf("smtp://%s:%s@%s?tls=starttls", eximUser, eximPassword, s.addr)
}

// PlainURL is the SMTP_URL of the server, without TLS and a login.
func (s *Exim) PlainURL() string { return "smtp://" + s.addr + "?tls=none" }

// eximDelivers is as whom mails are delivered: not as root, which exim refuses.
func eximDelivers() (uid, gid int) {
	const nobody = 65534
	if os.Getuid() == 0 {
		return nobody, nobody
	}
	return os.Getuid(), os.Getgid()
}

// Deliver tries once to deliver what lies in the spool: mails to one server,
// host:port, and reports of those that it refuses to the other.
func (s *Exim) Deliver(mails, bounces string) {
	s.t.Helper()
	for name, addr := range map[string]string{"mails": mails, "bounces": bounces} {
		host, port, err := net.SplitHostPort(addr)
		if err == nil {
			err = os.WriteFile(filepath.Join(s.dir, name), []byte(host+"::"+port), 0o644)
		}
		if err != nil {
			s.t.Fatalf("telling exim4 where to deliver: %v", err)
		}
	}
	for range 2 { // the second time it delivers the reports of the first
		ctx, cancel := context.WithTimeout(s.t.Context(), startLimit)
		out, err := exec.CommandContext(ctx, s.path, "-C", filepath.Join(s.dir, "exim.conf"), "-qff").CombinedOutput()
		cancel()
		if err != nil {
			s.t.Fatalf("having exim4 deliver: %v: %s", err, out)
		}
	}
}

// Roots is the pool that trusts the server's certificate.
func (s *Exim) Roots() *x509.CertPool { return s.roots }

// Mail returns the accepted mail with the Message-ID, as it lies in the spool
// (its envelope and headers with exim's marks, then the body with lines that
// end in LF), and how many there are.
func (s *Exim) Mail(messageID string) (head, body string, n int) {
	s.t.Helper()
	heads, err := filepath.Glob(filepath.Join(s.dir, "spool", "input", "*-H"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range heads {
		text := s.read(file)
		if !strings.Contains(text, "Message-ID: "+messageID) {
			continue
		}
		n++
		head = text
		_, body, _ = strings.Cut(s.read(strings.TrimSuffix(file, "H")+"D"), "\n") // after a line with its name
	}
	return head, body, n
}

// Log is the server's main log: a line for each connection's end, mail and
// refusal.
func (s *Exim) Log() string { return s.read(filepath.Join(s.dir, "mainlog")) }

func (s *Exim) read(file string) string {
	s.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatalf("reading exim4's files: %v", err)
	}
	return string(text)
}
