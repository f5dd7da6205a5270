package testkit

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Build compiles the command of this module at the import path, such as
// github.com/postrider/postrider/cmd/api, and returns the program's path.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	return BuildChanged(t, nil, pkg)[0]
}

// BuildChanged compiles commands of this module and returns the programs' paths
// in the same order. The files whose paths from the module's root are in changes
// have that content instead of their own, if there are such files at all: so
// another release can be had from the same tree.
func BuildChanged(t testing.TB, changes map[string]string, pkgs ...string) []string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if len(changes) > 0 {
		args = append(args, "-overlay", overlay(t, changes))
	}
	if out, err := exec.Command("go", append(args, pkgs...)...).CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", strings.Join(pkgs, ", "), err, out)
	}
	paths := make([]string, len(pkgs))
	for i, pkg := range pkgs {
		paths[i] = filepath.Join(dir, filepath.Base(pkg))
	}
	return paths
}

// ModuleRoot is the folder of this module's go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("asking for the module: %v", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// overlay writes the file that go build -overlay takes.
func overlay(t testing.TB, changes map[string]string) string {
	t.Helper()
	root, dir := ModuleRoot(t), t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	replace := map[string]string{}
	for path, content := range changes {
		replace[filepath.Join(root, path)] = write(path, []byte(content))
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	return write("overlay.json", text)
}
