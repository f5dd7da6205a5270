package deploy_test

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// instruction is one of a Dockerfile: its word, and the rest with continued
// lines joined.
type instruction struct{ word, args string }

func dockerfile() ([]instruction, error) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		return nil, err
	}
	var out []instruction
	continued := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		part, more := strings.CutSuffix(line, `\`)
		if continued {
			out[len(out)-1].args += " " + strings.TrimSpace(part)
		} else {
			word, args, _ := strings.Cut(part, " ")
			out = append(out, instruction{word, strings.TrimSpace(args)})
		}
		continued = more
	}
	return out, nil
}

// image is what the Dockerfile's build leaves in /out, built once for all
// tests.
var image struct {
	sync.Once
	dir string
	err error
}

// programs builds the image's programs and returns their folder.
func programs(t *testing.T) string {
	t.Helper()
	image.Do(func() { image.dir, image.err = build() })
	if image.err != nil {
		t.Fatal(image.err)
	}
	return filepath.Join(image.dir, "out", "bin")
}

// build runs what the Dockerfile runs to build the programs and the browser's
// clients, on what .dockerignore lets through.
func build() (string, error) {
	dir, err := os.MkdirTemp("", "postrider-image")
	if err != nil {
		return "", err
	}
	if err := copyContext(filepath.Join(dir, "src")); err != nil {
		return dir, err
	}
	file, err := dockerfile()
	if err != nil {
		return dir, err
	}
	built := 0
	for _, i := range file {
		if i.word != "RUN" || !strings.Contains(i.args, "go build") && !strings.Contains(i.args, "make") {
			continue
		}
		script := regexp.MustCompile(`--mount=\S+ `).ReplaceAllString(i.args, "")
		cmd := exec.Command("sh", "-ec", strings.ReplaceAll(script, "/out/", dir+"/out/"))
		cmd.Dir = filepath.Join(dir, "src")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("%s: %w\n%s", script, err, out)
		}
		built++
	}
	if built != 2 {
		return dir, fmt.Errorf("the Dockerfile builds %d things, not the programs and the clients", built)
	}
	return dir, nil
}

// copyContext copies what .dockerignore lets through. It knows the file's one
// form: all is out, then names of the root are let in, then patterns below them
// are out.
func copyContext(to string) error {
	text, err := os.ReadFile("../.dockerignore")
	if err != nil {
		return err
	}
	var let, out []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, in := strings.CutPrefix(line, "!")
		pattern, below := strings.CutPrefix(line, "**/")
		switch {
		case line == "" || line == "*" || strings.HasPrefix(line, "#"):
		case in:
			let = append(let, name)
		case below:
			out = append(out, pattern)
		default:
			return fmt.Errorf(".dockerignore: this test does not understand %q", line)
		}
	}
	root := os.DirFS("..")
	for _, name := range let {
		err := fs.WalkDir(root, name, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			left := slices.ContainsFunc(out, func(pattern string) bool {
				match, _ := filepath.Match(pattern, d.Name())
				return match
			})
			switch {
			case left && d.IsDir():
				return fs.SkipDir
			case left || d.IsDir():
				return nil
			}
			b, err := fs.ReadFile(root, path)
			if err != nil {
				return err
			}
			target := filepath.Join(to, path)
			if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
				return err
			}
			return os.WriteFile(target, b, 0o600)
		})
		if err != nil {
			return fmt.Errorf("copying the build's context: %w", err)
		}
	}
	return nil
}

func TestDockerfile(t *testing.T) {
	file, err := dockerfile()
	if err != nil {
		t.Fatal(err)
	}
	last := func(word string) string { // of the final stage
		value := ""
		for _, i := range file {
			if i.word == "FROM" {
				value = ""
			}
			if i.word == word {
				value = i.args
			}
		}
		return value
	}
	if base := last("FROM"); base != "scratch" {
		t.Errorf("the image is built on %q, not on nothing", base)
	}
	if user := last("USER"); !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("USER %q is not a number, or is root's", user)
	}
	if check := last("HEALTHCHECK"); !strings.HasSuffix(check, `CMD ["postrider", "healthcheck"]`) {
		t.Errorf("HEALTHCHECK %s", check)
	}
	if entry := last("ENTRYPOINT"); entry != "" {
		t.Errorf("ENTRYPOINT %s would stand before the program's name", entry)
	}
	if len(imageEnv(t)) < 2 {
		t.Errorf("ENV %s", last("ENV"))
	}
	for _, i := range file {
		if i.word == "FROM" && i.args != "scratch" && !regexp.MustCompile(`(golang|node):\d+\.\d+\.\d+-\w+ AS \w+$`).MatchString(i.args) {
			t.Errorf("FROM %s is not pinned to a version", i.args)
		}
		if i.word == "ADD" {
			t.Errorf("ADD %s: COPY does nothing unasked", i.args)
		}
	}
}

// imageEnv are the settings that the image brings.
func imageEnv(t *testing.T) []string {
	t.Helper()
	file, err := dockerfile()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range file {
		for _, assign := range strings.Fields(i.args) {
			if i.word == "ENV" && !strings.HasPrefix(assign, "PATH=") {
				out = append(out, assign)
			}
		}
	}
	return out
}

func TestImagePrograms(t *testing.T) {
	dir := programs(t)
	found, err := os.ReadDir(dir)
	if err != nil || len(found) != 4 {
		t.Fatalf("the image has %v, %v; want four programs", found, err)
	}
	for _, name := range []string{"api", "worker", "scheduler", "postrider"} {
		path := filepath.Join(dir, name)
		cmd := exec.Command(path, "--help")
		cmd.Env = []string{}
		if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 {
			t.Errorf("%s --help: %v\n%s", name, err, out)
		}
		program, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range program.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s is not static: the image has no loader for it", name)
			}
		}
		program.Close()
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range info.Settings {
			if s.Key == "-trimpath" && s.Value != "true" || s.Key == "CGO_ENABLED" && s.Value != "0" {
				t.Errorf("%s was built with %s=%s", name, s.Key, s.Value)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte("Pacific/Chatham")) {
			t.Errorf("%s has no time zones in it, and the image has none either", name)
		}
		if root, err := filepath.Abs(".."); err != nil || bytes.Contains(b, []byte(root+"/internal")) || bytes.Contains(b, []byte(image.dir)) {
			t.Errorf("%s tells where it was built (%v)", name, err)
		}
	}
}
