package suppress_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/tasks"
)

func TestReadCSV(t *testing.T) {
	got, err := suppress.ReadCSV(strings.NewReader("\ufeffReason, Address,note,category\r\n"+
		",Ann <Ann@Bücher.example>,\"a \"\"quoted\"\", note\",\r\nbounce,b@example.com,'=1+1,\r\nunsubscribe,c@example.com,,news\r\n"), "ann")
	want := []mail.Suppression{
		{Address: "ann@xn--bcher-kva.example", Reason: mail.Manual, Note: `a "quoted", note`, Actor: "ann"},
		{Address: "b@example.com", Reason: mail.Bounce, Note: "=1+1", Actor: "ann"},
		{Address: "c@example.com", Category: "news", Reason: mail.Unsubscribe, Actor: "ann"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v", got, err)
	}
}

// Each bad line is named, and nothing is read then.
func TestReadCSVRefused(t *testing.T) {
	long := "address\n" + strings.Repeat("a@example.com\n", suppress.MaxLines+1)
	for text, want := range map[string][]string{
		"":                      {"line 1"},
		"note\nx\n":             {"line 1"},
		"address,address\n":     {"line 1"},
		"address,adress\na,b\n": {"line 1"},
		"address,reason,category,note\ngood@example.com,,,\nnobody,,,\nb@example.com,boredom,,\nc@example.com,bounce,news,\nd@example.com,,News,\ne@example.com,,\nf@example.com,,," + strings.Repeat("x", 501) + "\n": {"line 3", "line 4", "line 5", "line 6", "line 7", "line 8"},
		"address\na@example.com\n\"b\n": {"line 3"},
		"address\n\xff@example.com\n":   {"line 2"},
		long:                            {fmt.Sprintf("line %d", suppress.MaxLines+2)},
	} {
		got, err := suppress.ReadCSV(strings.NewReader(text), "")
		var bad tasks.Invalid
		if !errors.As(err, &bad) || got != nil && len(bad) == 0 {
			t.Errorf("%.40q: read %d, %v", text, len(got), err)
		}
		var named []string
		for _, f := range bad {
			named = append(named, f.Field)
			if strings.Contains(f.Problem, "example.com") {
				t.Errorf("%q quotes an address", f.Problem)
			}
		}
		if !reflect.DeepEqual(named, want) {
			t.Errorf("%.40q: named %q, want %q", text, named, want)
		}
	}
	_, err := suppress.ReadCSV(strings.NewReader("address\n"+strings.Repeat("nobody\n", 500)), "")
	var bad tasks.Invalid
	if errors.As(err, &bad); len(bad) != suppress.MaxTold+1 || !strings.Contains(bad[suppress.MaxTold].Problem, "400") {
		t.Errorf("of 500 bad lines %d are told", len(bad))
	}
}

// What is exported can be imported, and no cell is a formula.
func TestCSVThereAndBack(t *testing.T) {
	all := []mail.Suppression{
		{Address: "-a@example.com", Reason: mail.Manual, Note: "=HYPERLINK(\"http://x\")", Actor: "+ann"},
		{Address: "+b@example.com", Reason: mail.Bounce, Note: "-1\nsecond, line", Job: "01920000-0000-7000-8000-000000000001"},
		{Address: "c@example.com", Category: "news", Reason: mail.Unsubscribe, Note: "@sum", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
	}
	var b strings.Builder
	if err := suppress.NewCSV(&b).Write(all); err != nil {
		t.Fatal(err)
	}
	for _, cell := range strings.FieldsFunc(b.String(), func(r rune) bool { return r == ',' || r == '\n' || r == '"' }) {
		if strings.ContainsAny(cell[:1], "=+@") {
			t.Errorf("the cell %q is a formula", cell)
		}
	}
	if !strings.Contains(b.String(), "2026-01-02T03:04:05Z") {
		t.Errorf("the time is missing in\n%s", b.String())
	}
	got, err := suppress.ReadCSV(strings.NewReader(b.String()), "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i].Actor, all[i].Job, all[i].At = "", "", time.Time{}
	}
	if !reflect.DeepEqual(got, all) {
		t.Errorf("it came back as %+v", got)
	}
}

// What PowerShell and others write: the mark, and then names in quotes.
func TestReadCSVMarkBeforeQuotes(t *testing.T) {
	got, err := suppress.ReadCSV(strings.NewReader("\ufeff\"address\",\"reason\"\r\n\"a@example.com\",\"bounce\"\r\n"), "")
	if err != nil || len(got) != 1 || got[0].Address != "a@example.com" {
		t.Errorf("read %+v, %v", got, err)
	}
}

// An apostrophe of one's own is not taken for the guard.
func TestCSVKeepsApostrophes(t *testing.T) {
	want := []mail.Suppression{
		{Address: "'+x@example.com", Reason: mail.Manual, Note: "'=1"},
		{Address: "+x@example.com", Reason: mail.Manual, Note: "'"},
		{Address: "o'x@example.com", Reason: mail.Manual, Note: "''-"},
	}
	var b strings.Builder
	if err := suppress.NewCSV(&b).Write(want); err != nil {
		t.Fatal(err)
	}
	got, err := suppress.ReadCSV(strings.NewReader(b.String()), "")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("came back as %+v, %v, of\n%s", got, err, b.String())
	}
}

// What an export says of a person who was erased can be imported.
func TestReadCSVErased(t *testing.T) {
	hash := mail.ErasedPrefix + strings.Repeat("0a", 32)
	got, err := suppress.ReadCSV(strings.NewReader("address,reason\n"+hash+",bounce\n"), "")
	if err != nil || len(got) != 1 || got[0].Address != hash {
		t.Errorf("read %+v, %v", got, err)
	}
}
