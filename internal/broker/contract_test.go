package broker

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// TestContract fails when asynq is upgraded to one whose scripts are not those
// that the layer was made for: read the new ones, then change knownScripts.
func TestContract(t *testing.T) {
	c := rehearse(knownScripts, knownMessages, patience)
	if c.err != nil {
		t.Fatal(c.err)
	}
	for sha, op := range c.ops {
		if c.texts[sha] == "" {
			t.Errorf("the text of %q was not seen", op)
		}
	}
}

// TestBrokenContract: with another asynq all runs plain, and says so once.
func TestBrokenContract(t *testing.T) {
	renamed := maps.Clone(knownScripts)
	for sha, s := range knownScripts {
		if s.op == opDequeue {
			delete(renamed, sha)
			renamed[strings.Repeat("0", 40)] = s
		}
	}
	reshaped := maps.Clone(knownScripts)
	for sha, s := range knownScripts {
		if s.op == opRetry {
			s.args++
			reshaped[sha] = s
		}
	}
	// asynq keeps 32 bits of it.
	rewritten := []message{{typ: "a", id: "a", queue: "default", retry: 1 << 33, timeout: time.Second}}
	for name, known := range map[string]struct {
		scripts  map[string]shape
		messages []message
	}{
		"another script":  {renamed, knownMessages},
		"other arguments": {reshaped, knownMessages},
		"another message": {knownScripts, rewritten},
	} {
		log, lines := testkit.CaptureLog(t)
		c := rehearse(known.scripts, known.messages, 500*time.Millisecond)
		for range 2 {
			if c.kept(log) {
				t.Errorf("%s: the contract is kept", name)
			}
		}
		if n := lines.Count("runs plain"); n != 1 {
			t.Errorf("%s: said %d times:\n%s", name, n, lines)
		}
	}
}
