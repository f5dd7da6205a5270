package mail

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"
)

// python runs a script of testdata, which reads and writes JSON. It is the
// system's Python, the one for which .ci/deps installs modules.
func python(t testing.TB, script string, request, answer any) {
	t.Helper()
	in, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-I", "testdata/"+script)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running %s: %v\n%s", script, err, stderr.String())
	}
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatalf("reading what %s says: %v\n%s", script, err, out)
	}
}
