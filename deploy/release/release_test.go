package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

const version = "v1.2.3"

// made is a release in a folder of the test's own.
func made(t *testing.T, root string) string {
	t.Helper()
	out := t.TempDir()
	var told bytes.Buffer
	if err := release(t.Context(), []string{"-root", root, "-out", out, "-version", version, "-platforms", platforms}, &told); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(told.String(), ".tar.gz\n"), strings.Count(platforms, "/"); got != want {
		t.Errorf("it told of %d archives of %d: %s", got, want, told.String())
	}
	return out
}

// entry is a file of an archive.
type entry struct {
	tar.Header
	content []byte
}

// unpack reads an archive; the names are those within its folder.
func unpack(t *testing.T, path string) map[string]entry {
	t.Helper()
	packed, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	zip, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	folder := strings.TrimSuffix(filepath.Base(path), ".tar.gz") + "/"
	out := map[string]entry{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, within := strings.CutPrefix(h.Name, folder)
		if !within {
			t.Errorf("%s lies outside of %s", h.Name, folder)
		}
		out[name] = entry{*h, content}
	}
}

// TestRelease makes a release for all platforms, twice. Each builds everything
// anew, which takes minutes: with POSTRIDER_TEST_ALL=1 alone.
func TestRelease(t *testing.T) {
	if os.Getenv("POSTRIDER_TEST_ALL") == "" {
		return
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	out := made(t, root)
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
	check.Dir = out
	if told, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, told)
	}
	archives, err := filepath.Glob(filepath.Join(out, "*.tar.gz"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("there are no archives: %v", err)
	}
	for _, path := range archives {
		checkArchive(t, root, path)
	}
	checkAgain(t, root, out)
}

// checkAgain makes the release once more: from a folder of another name and by
// a machine that is set up differently, it has the same bytes.
func checkAgain(t *testing.T, root, first string) {
	t.Helper()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(root, elsewhere); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"TZ": "Pacific/Chatham", "GOFLAGS": "-tags=other", "GOAMD64": "v3", "LC_ALL": "C"} {
		t.Setenv(name, value)
	}
	second := made(t, elsewhere)
	entries, err := os.ReadDir(first)
	if err != nil || len(entries) < 3 {
		t.Fatalf("the release has %v, %v", entries, err)
	}
	for _, e := range entries {
		a, err := os.ReadFile(filepath.Join(first, e.Name()))
		b, err2 := os.ReadFile(filepath.Join(second, e.Name()))
		if err := errors.Join(err, err2); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs the second time: %v", e.Name(), err)
		}
	}
}

// checkArchive looks at what is in an archive, and what must not be.
func checkArchive(t *testing.T, root, path string) {
	t.Helper()
	files := unpack(t, path)
	for _, name := range []string{
		"LICENSE", "README.md", "CHANGELOG.md", "docs/live.md", "deploy/compose.yaml", "deploy/make-secrets", "deploy/helm/postrider/Chart.yaml",
		"deploy/systemd/postrider-api.service", "clients/js/inbox.js", "sbom.cdx.json", "licenses/go/LICENSE",
		"licenses/github.com/hibiken/asynq/LICENSE", "bin/api", "bin/worker", "bin/scheduler", "bin/postrider",
	} {
		if len(files[name].content) == 0 {
			t.Errorf("%s lacks %s", filepath.Base(path), name)
		}
	}
	if !bytes.Contains(files[chart].content, []byte("\nappVersion: \""+version+"\"\n")) {
		t.Errorf("the chart is of another version:\n%s", files[chart].content)
	}
	var at time.Time
	for name, f := range files {
		if at.IsZero() {
			at = f.ModTime
		}
		if !f.ModTime.Equal(at) || f.Uid != 0 || f.Uname != "" {
			t.Errorf("%s tells of the machine: %+v", name, f.Header)
		}
		if runs := strings.HasPrefix(name, "bin/") || name == "deploy/make-secrets"; runs != (f.Mode&0o100 != 0) {
			t.Errorf("%s has the mode %o", name, f.Mode)
		}
		if strings.HasSuffix(name, ".go") || strings.Contains(name, "secrets/") || strings.Contains(name, "node_modules") {
			t.Errorf("%s is not for a release", name)
		}
	}
	checkPrograms(t, root, path, files)
	checkBill(t, files["sbom.cdx.json"].content, files["bin/api"].content)
}

func checkPrograms(t *testing.T, root, path string, files map[string]entry) {
	t.Helper()
	for _, name := range []string{"api", "worker", "scheduler", "postrider"} {
		content := files["bin/"+name].content
		if bytes.Contains(content, []byte(root+"/")) {
			t.Errorf("%s tells where it was built", name)
		}
		if strings.Contains(path, "-linux-") {
			program, err := elf.NewFile(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
				t.Errorf("%s is not static", name)
			}
		}
		if !strings.Contains(path, "-"+runtime.GOOS+"-"+runtime.GOARCH) {
			continue
		}
		at := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(at, content, 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(at, "-version").CombinedOutput(); err != nil || string(out) != version+"\n" {
			t.Errorf("%s -version: %v, %q", name, err, out)
		}
	}
}

// checkBill compares the bill of materials with what Go knows of a program.
func checkBill(t *testing.T, bill, program []byte) {
	t.Helper()
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(bill), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	if bom.Metadata.Component.Version != version {
		t.Errorf("the bill is of version %s", bom.Metadata.Component.Version)
	}
	listed := map[string]bool{}
	for _, c := range *bom.Components {
		listed[c.PackageURL] = true
	}
	at := filepath.Join(t.TempDir(), "api")
	if err := os.WriteFile(at, program, 0o600); err != nil {
		t.Fatal(err)
	}
	told, err := exec.Command("go", "version", "-m", at).Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := 0
	for line := range strings.Lines(string(told)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "dep" {
			deps++
			if purl := "pkg:golang/" + f[1] + "@" + f[2]; !listed[purl] {
				t.Errorf("the bill lacks %s", purl)
			}
		}
	}
	if deps < 20 {
		t.Errorf("go version -m lists %d modules:\n%s", deps, told)
	}
}

func TestTerms(t *testing.T) {
	dir := t.TempDir()
	if _, err := terms("example.com/m", dir); err == nil {
		t.Error("a module without a licence is given away")
	}
	for _, name := range []string{"LICENSE-MIT.txt", "NOTICE", "license_test.go", "README.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := terms("example.com/m", dir)
	if err != nil || len(found) != 2 || found[0].name != "licenses/example.com/m/LICENSE-MIT.txt" {
		t.Errorf("found %v, %v", found, err)
	}
}
