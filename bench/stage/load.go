package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Load is many callers that post one body to an address again and again, each
// over a connection of its own and with the next request after the answer to the
// last. wrk plays them, which takes little of the machine from the server.
type Load struct {
	Addr    string // host:port
	Path    string
	Body    string // JSON
	Callers int
}

// loadScript has wrk post the body and tell what became of it, as JSON. Its
// texts are Lua's long strings, which know no escapes.
const loadScript = `
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[%s]==]
function done(summary)
  local e = summary.errors
  io.write(string.format('{"requests":%%d,"microseconds":%%d,"refused":%%d,"lost":%%d}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout))
end
`

// Run lets the callers work for warm and then counts the answers of the time
// after it, both in whole seconds, one at least. An answer of 400 or more is an
// error, and so is one that does not come.
func (l Load) Run(ctx context.Context, warm, counted time.Duration) (perSecond float64, err error) {
	if strings.Contains(l.Body, "]==]") {
		return 0, fmt.Errorf("the body holds the mark that ends it: %q", l.Body)
	}
	dir, err := os.MkdirTemp("", "postrider-load-")
	if err != nil {
		return 0, fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "load.lua")
	if err := os.WriteFile(script, fmt.Appendf(nil, loadScript, l.Body), 0o600); err != nil {
		return 0, fmt.Errorf("writing a script: %w", err)
	}
	if _, err := l.wrk(ctx, script, warm); err != nil {
		return 0, err
	}
	return l.wrk(ctx, script, counted)
}

func (l Load) wrk(ctx context.Context, script string, d time.Duration) (perSecond float64, err error) {
	seconds := int(math.Max(1, math.Round(d.Seconds())))
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+startLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "wrk", "--threads", "1", "--connections", fmt.Sprint(l.Callers),
		"--duration", fmt.Sprintf("%ds", seconds), "--script", script, "http://"+l.Addr+l.Path).Output()
	if err != nil {
		return 0, fmt.Errorf("running wrk: %w: %s", err, out)
	}
	var told struct{ Requests, Microseconds, Refused, Lost float64 }
	// What the script tells is the last line.
	last := bytes.TrimSpace(out)
	last = last[bytes.LastIndexByte(last, '\n')+1:]
	if err := json.Unmarshal(last, &told); err != nil {
		return 0, fmt.Errorf("reading what wrk told: %w: %s", err, out)
	}
	if told.Refused+told.Lost > 0 {
		return 0, fmt.Errorf("of %v requests %v were refused and %v not answered", told.Requests, told.Refused, told.Lost)
	}
	return told.Requests / told.Microseconds * 1e6, nil
}
