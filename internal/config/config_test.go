package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/config"
)

// queues has a format of its own, as a real section's would.
type queues map[string]int

func (q *queues) UnmarshalText(text []byte) error {
	*q = queues{}
	for pair := range strings.SplitSeq(string(text), ",") {
		name, size, ok := strings.Cut(pair, "=")
		n, err := strconv.Atoi(size)
		if !ok || err != nil {
			return fmt.Errorf("%q is not of the form queue=concurrency", pair)
		}
		(*q)[name] = n
	}
	return nil
}

type mailSection struct {
	URL     string        `env:"SMTP_URL" secret:"true" help:"the mail server"`
	Timeout time.Duration `env:"POSTRIDER_SMTP_TIMEOUT" envDefault:"20s" help:"the whole conversation"`
}

func (m mailSection) Validate() error {
	if m.Timeout <= 0 {
		return errors.New("POSTRIDER_SMTP_TIMEOUT: want more than zero")
	}
	return nil
}

type settings struct {
	Mail    mailSection
	Queues  queues   `env:"POSTRIDER_QUEUES" envDefault:"email=20,bulk=10" help:"a | b"`
	Retries uint8    `env:"POSTRIDER_RETRIES" envDefault:"3" help:"retries"`
	Plain   bool     `env:"POSTRIDER_PLAIN" help:"plain mode"`
	Origins []string `env:"POSTRIDER_ORIGINS" help:"origins"`
	Keys    string   `env:"POSTRIDER_API_KEYS" secret:"true" help:"the keys"`
	Pin     int      `env:"POSTRIDER_PIN" secret:"true" help:"a secret number"`
}

// Validate sees all sections, on the pointer.
func (s *settings) Validate() error {
	if s.Retries > 100 {
		return errors.New("POSTRIDER_RETRIES: want at most 100")
	}
	return nil
}

func TestLoad(t *testing.T) {
	var got settings
	_, err := config.Load(&got, []string{
		"POSTRIDER_SMTP_TIMEOUT=1m30s", "POSTRIDER_QUEUES=default=7", "POSTRIDER_PLAIN=true",
		"POSTRIDER_ORIGINS=https://a.example,https://b.example", "POSTRIDER_RETRIES=", "PATH=/bin",
	}, nil)
	want := settings{
		Mail:    mailSection{Timeout: 90 * time.Second},
		Queues:  queues{"default": 7},
		Retries: 3, // the empty string counts as not set
		Plain:   true,
		Origins: []string{"https://a.example", "https://b.example"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	var defaults settings
	if _, err := config.Load(&defaults, nil, nil); err != nil || !reflect.DeepEqual(defaults.Queues, queues{"email": 20, "bulk": 10}) {
		t.Errorf("the default of a type of its own: %v, %v", defaults.Queues, err)
	}
	own := map[string]string{"POSTRIDER_RETRIES": "7", "SMTP_URL": "smtp://localhost"}
	if _, err := config.Load(&defaults, []string{"SMTP_URL=smtp://mail.example"}, own); err != nil || defaults.Retries != 7 || defaults.Mail.URL != "smtp://mail.example" {
		t.Errorf("with a program's own defaults: %+v, %v", defaults, err)
	}
}

func TestLoadErrors(t *testing.T) {
	for _, test := range []struct {
		name, env string
		want      []string
		not       string
	}{
		{"duration", "POSTRIDER_SMTP_TIMEOUT=fast", []string{"POSTRIDER_SMTP_TIMEOUT", `"fast"`, "a duration such as"}, "Timeout\""},
		{"number", "POSTRIDER_RETRIES=many", []string{"POSTRIDER_RETRIES", `"many"`, "a whole number of zero or more"}, ""},
		{"range", "POSTRIDER_RETRIES=256", []string{"POSTRIDER_RETRIES", `"256"`, "out of range"}, ""},
		{"bool", "POSTRIDER_PLAIN=yes", []string{"POSTRIDER_PLAIN", `"yes"`, "true or false"}, ""},
		{"own format", "POSTRIDER_QUEUES=email:20", []string{"POSTRIDER_QUEUES", `"email:20" is not of the form queue=concurrency`}, ""},
		{"secret", "POSTRIDER_PIN=hunter2", []string{"POSTRIDER_PIN", "a whole number"}, "hunter2"},
		{"secret out of range", "POSTRIDER_PIN=99999999999", []string{"POSTRIDER_PIN", "out of range"}, "9999"},
		{"section's own check", "POSTRIDER_SMTP_TIMEOUT=-1s", []string{"POSTRIDER_SMTP_TIMEOUT: want more than zero"}, ""},
		{"root's own check", "POSTRIDER_RETRIES=200", []string{"POSTRIDER_RETRIES: want at most 100"}, ""},
		{"all at once", "POSTRIDER_SMTP_TIMEOUT=-1s POSTRIDER_PLAIN=maybe POSTRIDER_RETRIES=200",
			[]string{"POSTRIDER_SMTP_TIMEOUT: want more", "POSTRIDER_PLAIN"}, "want at most"},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, err := config.Load(&settings{}, strings.Fields(test.env), nil)
			if err == nil || report == nil {
				t.Fatalf("got %v and report %v, want an error and a report", err, report)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if test.not != "" && strings.Contains(err.Error(), test.not) {
				t.Errorf("%q must not hold %q", err, test.not)
			}
		})
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for content, want := range map[string]string{"a key": "a key", "a key\n": "a key", "a key\r\n": "a key", "two\n\n": "two\n"} {
		var got settings
		report, err := config.Load(&got, []string{"POSTRIDER_API_KEYS_FILE=" + write("keys", content)}, nil)
		if err != nil || got.Keys != want || len(report.Warnings) > 0 {
			t.Errorf("file %q: got %q, %v, %v; want %q", content, got.Keys, err, report.Warnings, want)
		}
	}
	for name, test := range map[string]struct{ env, want string }{
		"both":         {"POSTRIDER_API_KEYS=k POSTRIDER_API_KEYS_FILE=" + write("keys", "k"), "POSTRIDER_API_KEYS and POSTRIDER_API_KEYS_FILE are both set"},
		"unreadable":   {"SMTP_URL_FILE=" + filepath.Join(dir, "none"), "SMTP_URL_FILE: reading the secret: open "},
		"empty":        {"SMTP_URL_FILE=" + write("empty", "\n"), "SMTP_URL_FILE: the file "},
		"bad contents": {"POSTRIDER_PIN_FILE=" + write("pin", "hunter2\n"), "POSTRIDER_PIN: the secret is not a whole number"},
	} {
		_, err := config.Load(&settings{}, strings.Fields(test.env), nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestUnknownNamesWarn(t *testing.T) {
	report, err := config.Load(&settings{}, []string{
		"POSTRIDER_QUEUE=a=1", "POSTRIDER_API_KEY_FILE=x", "POSTRIDER_SOMETHING_ELSE=1", "OTHER_QUEUE=1", "POSTRIDER_PLAIN=0",
	}, nil)
	want := []string{
		"POSTRIDER_API_KEY_FILE is not a setting and has no effect; is POSTRIDER_API_KEYS_FILE meant?",
		"POSTRIDER_QUEUE is not a setting and has no effect; is POSTRIDER_QUEUES meant?",
		"POSTRIDER_SOMETHING_ELSE is not a setting and has no effect",
	}
	if err != nil || !reflect.DeepEqual(report.Warnings, want) {
		t.Errorf("got %q, %v\nwant %q", report.Warnings, err, want)
	}
}

func TestDump(t *testing.T) {
	report, err := config.Load(&settings{}, []string{
		"SMTP_URL=smtps://bob:hunter2@mail.example:465", "POSTRIDER_API_KEYS=shop:hunter2:admin", "POSTRIDER_RETRIES=5",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := report.Dump(&b); err != nil {
		t.Fatal(err)
	}
	want := `POSTRIDER_QUEUES        email=20,bulk=10                       (default)
POSTRIDER_RETRIES       5                                      (environment)
POSTRIDER_PLAIN         [not set]
POSTRIDER_ORIGINS       [not set]
POSTRIDER_API_KEYS      [set]                                  (environment)
POSTRIDER_PIN           [not set]
SMTP_URL                smtps://bob:xxxxx@mail.example:465  (environment)
POSTRIDER_SMTP_TIMEOUT  20s                                    (default)
`
	if squeeze(b.String()) != squeeze(want) {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// squeeze makes one blank of several: columns may move.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestTable(t *testing.T) {
	got := config.Table(&settings{})
	for _, want := range []string{
		"| `POSTRIDER_QUEUES` | `email=20,bulk=10` | a \\| b |\n",
		"| `POSTRIDER_PLAIN` |  | plain mode |\n",
		"| `SMTP_URL` |  | the mail server (secret: also `SMTP_URL_FILE`) |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

func TestProgrammersMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		dst  any
		want string
	}{
		"no pointer": {settings{}, "want a pointer to a struct"},
		"nil":        {(*settings)(nil), "want a pointer to a struct"},
		"no words": {&struct {
			A int `env:"A"`
		}{}, "A (A) lacks a help tag"},
		"name twice": {&struct{ A, B mailSection }{}, "SMTP_URL is declared twice"},
		"no such kind": {&struct {
			A chan int `env:"A" help:"a" envDefault:"x"`
		}{}, `A: "x" is not a chan int`},
	} {
		if _, err := config.Load(test.dst, nil, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
