// Package postrider_test holds the rules of the house: which folder may
// import which, and that each says what it is for.
package postrider_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/postrider/postrider"

// may is the import table: a folder and what of ours it may import. A folder
// that is not in it may not be. Anyone may import internal/telemetry,
// internal/rounds, internal/secretfile and internal/tlsfile.
var may = map[string][]string{
	"cmd/api":       {"internal/app", "internal/config"},
	"cmd/worker":    {"internal/app", "internal/config"},
	"cmd/scheduler": {"internal/app", "internal/config"},
	"cmd/postrider": {"internal/app", "internal/operator"},
	"docs":          {"internal/app"},

	"deploy/release": {},

	"tasks":     {},
	"dashboard": {"tasks", "internal/delivery", "internal/job", "internal/schedule", "internal/mail", "internal/mail/suppress", "internal/mail/template", "internal/inbox", "internal/apikey", "internal/auth", "internal/roster", "internal/limit", "internal/numbers", "internal/outage", "internal/socketio", "internal/audit", "internal/alert", "internal/sheet"},

	"internal/app":      anything,
	"internal/operator": {"internal/app", "internal/config", "internal/auth", "internal/mail", "internal/mail/template"},
	"internal/config":   {},
	"internal/job":      {"tasks"},
	"internal/work":     {"internal/audit", "internal/job", "tasks", "internal/mail", "internal/mail/suppress", "internal/mail/feedback", "internal/mail/template", "internal/inbox", "internal/schedule", "internal/chat", "internal/limit", "internal/recipient"},
	"internal/broker":   {"internal/job", "internal/numbers", "tasks"},
	"internal/store":    {"internal/alert", "internal/apikey", "internal/auth", "internal/audit", "internal/delivery", "internal/numbers", "internal/job", "internal/schedule", "internal/mail", "internal/mail/attach", "internal/mail/template", "internal/inbox", "internal/chat", "internal/recipient", "tasks"},
	// It tells a refusal by the domain's codes.
	"internal/audit": {"internal/job", "internal/sheet"},
	// It tells people itself, past the queues of which it tells.
	"internal/alert":    {"internal/mail", "internal/numbers", "internal/webhook"},
	"internal/sheet":    {},
	"internal/schedule": {"internal/job", "tasks"},
	"internal/mail":     {"internal/limit"},
	"internal/inbox":    {"internal/job"},
	"internal/chat":     {},
	"internal/numbers":  {},
	"internal/delivery": {"internal/job", "internal/mail", "tasks"},
	"internal/live":     {"internal/inbox", "internal/chat", "internal/auth", "internal/limit", "internal/socketio", "internal/job", "tasks"},
	"internal/socketio": {},
	// Preferences are about mails and notifications, are asked at accept, and
	// keep time as the timetable does.
	"internal/recipient": {"internal/job", "internal/mail", "internal/schedule", "tasks"},
	"internal/httpapi": {"internal/alert", "internal/apikey", "internal/audit", "internal/delivery", "internal/job", "internal/schedule", "internal/inbox", "internal/chat", "internal/live", "internal/mail", "internal/mail/attach", "internal/mail/suppress", "internal/mail/feedback", "internal/mail/template",
		"internal/auth", "internal/limit", "internal/cache", "internal/recipient", "tasks"},
	// Keys that were made are kept in SQL, and are callers as those that are set.
	"internal/apikey":     {"internal/auth", "internal/job", "tasks"},
	"internal/auth":       {"internal/webhook"},
	"internal/webhook":    {},
	"internal/fetch":      {},
	"internal/tlsfile":    {},
	"internal/secretfile": {},
	"internal/limit":      {"internal/outage"},
	"internal/cache":      {"internal/outage"},
	"internal/outage":     {},
	"internal/telemetry":  {},
	"internal/rounds":     {},
	"internal/roster":     {},
	"internal/mailcatch":  {"internal/smtpserver"},
	// The one thing that the two servers of SMTP have in common.
	"internal/smtpserver": {},

	"internal/mail/unsubscribe": {"internal/mail", "internal/job", "internal/limit"},
	"internal/mail/attach":      {"internal/job", "tasks"},
	"internal/mail/suppress":    {"internal/mail", "internal/job", "internal/sheet", "tasks"},
	"internal/mail/feedback":    {"internal/mail"},
	// A server that takes one kind of mail: what it does with it is given to it.
	"internal/mail/bounce": {"internal/limit", "internal/mail", "internal/mail/feedback", "internal/smtpserver", "tasks"},
	// It is what decides about a job's template when the job is accepted, and
	// says what is wrong in the words of the payload.
	"internal/mail/template": {"internal/job", "tasks"},

	// For tests only.
	"internal/testkit":                    {},
	"internal/testkit/browser":            {},
	"internal/chaos":                      {"internal/testkit"},
	"internal/job/jobtest":                {"internal/job", "internal/inbox", "internal/mail", "internal/testkit", "tasks"},
	"internal/inbox/inboxtest":            {"internal/inbox", "internal/job", "internal/testkit"},
	"internal/chat/chattest":              {"internal/chat"},
	"internal/audit/audittest":            {"internal/audit"},
	"internal/mail/template/templatetest": {"internal/job"},
	"internal/schedule/scheduletest":      {"internal/schedule", "internal/job", "internal/job/jobtest", "tasks"},
}

var anything = []string{"*"}

// forTests are the folders that no program may import.
var forTests = []string{"internal/testkit", "internal/testkit/browser", "internal/chaos", "internal/job/jobtest", "internal/inbox/inboxtest", "internal/chat/chattest", "internal/audit/audittest", "internal/schedule/scheduletest", "internal/mail/template/templatetest"}

func TestImports(t *testing.T) {
	for folder, files := range packages(t) {
		allowed, known := may[folder]
		if !known {
			t.Errorf("%s is not in the import table", folder)
		}
		for _, file := range files {
			for _, imported := range file.imports {
				switch {
				case slices.Contains([]string{"internal/telemetry", "internal/rounds", "internal/secretfile", "internal/tlsfile"}, imported):
				case slices.Contains(forTests, imported) && !slices.Contains(forTests, folder):
					t.Errorf("%s imports %s, which is for tests only", file.name, imported)
				case known && !slices.Contains(allowed, imported) && !slices.Contains(allowed, "*"):
					t.Errorf("%s imports %s, which the table does not allow to %s", file.name, imported, folder)
				}
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for folder, files := range packages(t) {
		comments := 0
		for _, file := range files {
			if file.doc != "" {
				comments++
			}
			if d := file.doc; d != "" && !strings.HasPrefix(d, "Package ") && !strings.HasPrefix(d, "Command ") {
				t.Errorf("%s: the package comment begins %q", file.name, d[:min(len(d), 30)])
			}
		}
		if comments != 1 {
			t.Errorf("%s has %d package comments, want one", folder, comments)
		}
	}
}

// A table with a folder that is not there has outlived it.
func TestTableIsCurrent(t *testing.T) {
	there := packages(t)
	for folder := range may {
		if _, ok := there[folder]; !ok {
			t.Errorf("the import table has %s, which does not exist", folder)
		}
	}
}

// foreign says whether a folder holds what is not our source.
func foreign(folder string) bool {
	base := path.Base(folder)
	return base == "node_modules" || base == "testdata" || folder == "data" || folder == "bin" ||
		strings.HasPrefix(base, ".") && folder != "."
}

type source struct {
	name    string
	doc     string   // the package comment
	imports []string // of ours, below the module
}

// packages reads the head of every Go file that is not a test, by folder.
func packages(t *testing.T) map[string][]source {
	t.Helper()
	out := map[string][]source{}
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := fs.Stat(root, path.Join(name, "go.mod")); err == nil && name != "." || foreign(name) {
				return fs.SkipDir // a module of its own, or not our source
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		s := source{name: name, doc: file.Doc.Text()}
		for _, i := range file.Imports {
			if ours, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module+"/"); ok {
				s.imports = append(s.imports, ours)
			}
		}
		out[path.Dir(name)] = append(out[path.Dir(name)], s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("found %d folders of Go files only: is this test in the module's root?", len(out))
	}
	return out
}
