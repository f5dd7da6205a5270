package testkit_test

import (
	"bufio"
	"encoding/json"
	"net"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLog(t *testing.T) {
	logger, log := testkit.CaptureLog(t)
	logger.With("component", "test").Debug("a word", "job", 7)
	logger.Info("another")
	if n := log.Count("component=test job=7"); n != 1 {
		t.Errorf("found %d such lines in:\n%s", n, log)
	}
	late := testkit.Logger(t)
	t.Run("over", func(t *testing.T) { late, log = testkit.CaptureLog(t) })
	late.Info("after the test's end") // must not panic
	if log.Count("after the test's end") != 1 {
		t.Error("a late line was not captured")
	}
}

// childReport is what the killed child tells of its servers.
type childReport struct {
	Dir       string
	Addresses []string
}

// TestKilledProcessLeavesNothing starts this test binary anew, has it start
// servers, kills it with no chance to clean up, and looks for what is left.
func TestKilledProcessLeavesNothing(t *testing.T) {
	const mark = "POSTRIDER_TESTKIT_CHILD"
	if os.Getenv(mark) != "" {
		runChild(t)
		return
	}
	child := osexec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), mark+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()

	var report childReport
	lines := bufio.NewScanner(out)
	for report.Dir == "" && lines.Scan() {
		if line, ok := strings.CutPrefix(lines.Text(), "report "); ok {
			if err := json.Unmarshal([]byte(line), &report); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(report.Addresses) != 3 {
		t.Fatalf("the child started no servers: %+v", report)
	}
	for _, addr := range report.Addresses {
		if !listens(addr) {
			t.Errorf("%s does not listen while the child lives", addr)
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range report.Addresses {
		testkit.WaitFor(t, limit, "server "+addr+" ends after its test process", func() bool { return !listens(addr) })
	}
	testkit.WaitFor(t, limit, report.Dir+" is removed", func() bool {
		_, err := os.Stat(report.Dir)
		return os.IsNotExist(err)
	})
}

// runChild starts servers, tells of them and waits to be killed.
func runChild(t *testing.T) {
	unix := testkit.RedisUnix(t)
	report := childReport{Dir: filepath.Dir(filepath.Dir(unix.Addr))}
	paused := testkit.Redis(t)
	for _, server := range []string{testkit.Redis(t).URL(), paused.URL(), testkit.Postgres(t)} {
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		report.Addresses = append(report.Addresses, u.Host)
	}
	paused.Pause() // the kernel still takes connections for it
	b, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("\nreport " + string(b) + "\n")
	time.Sleep(time.Minute) // the parent kills it long before
}

func listens(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
