package postrider_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	threatLine = regexp.MustCompile(`^(\d+)\. `)
	namedTest  = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)\\w+)`")
)

// Each threat of SECURITY.md names the tests that hold what is said there.
func TestThreatsAreTested(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, threats := testFunctions(t), 0
	for line := range strings.Lines(string(text)) {
		number := threatLine.FindStringSubmatch(line)
		if number == nil {
			continue
		}
		threats++
		if number[1] != strconv.Itoa(threats) {
			t.Errorf("the threat after %d has the number %s", threats-1, number[1])
		}
		_, named, _ := strings.Cut(line, "Tests: ")
		found := namedTest.FindAllStringSubmatch(named, -1)
		if len(found) == 0 || len(found) != len(strings.Fields(named)) {
			t.Errorf("threat %s names its tests as %q; want `folder.TestName` each", number[1], strings.TrimSpace(named))
		}
		for _, f := range found {
			if !tests[f[1]][f[2]] {
				t.Errorf("threat %s: there is no %s in %s", number[1], f[2], f[1])
			}
		}
	}
	if threats < 30 {
		t.Errorf("only %d threats were found", threats)
	}
}

// testFunctions are the names of all tests and fuzz targets, by folder.
func testFunctions(t *testing.T) map[string]map[string]bool {
	t.Helper()
	out := map[string]map[string]bool{}
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if foreign(name) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder := path.Dir(name)
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				if out[folder] == nil {
					out[folder] = map[string]bool{}
				}
				out[folder][f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
