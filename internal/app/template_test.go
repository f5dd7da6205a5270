package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/testkit"
)

// A mail goes out as its template was when it was accepted; what a schedule
// sends is what the template is when it fires.
func TestTemplatesAreFollowedAndPinned(t *testing.T) {
	dir := t.TempDir()
	write := func(subject string) {
		t.Helper()
		text := fmt.Sprintf(`{{define "subject"}}%s {{.n}}{{end}}<p>x`, subject)
		if err := os.WriteFile(filepath.Join(dir, "news.html"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("Old")
	a := boot(t, Dev, "POSTRIDER_DATA_DIR="+t.TempDir(), "POSTRIDER_TEMPLATES="+dir)
	put := func(path, body string) int {
		t.Helper()
		res, err := http.Post("http://"+a.Addr()+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	mail := `{"to":["user@example.com"],"template":"news","data":{"n":%d}}`
	schedule := `{"name":"news","type":"email:send","cron":"@yearly","payload":` + mail + `}`
	if code := put("/schedules", strings.ReplaceAll(schedule, `"n":%d`, `"m":1`)); code != http.StatusUnprocessableEntity {
		t.Errorf("a schedule whose mail cannot be rendered is answered with %d", code)
	}
	if code := put("/schedules", fmt.Sprintf(schedule, 3)); code != http.StatusCreated {
		t.Fatalf("the schedule is answered with %d", code)
	}
	later := post(t, a.Addr(), "/jobs/schedule-email", `{"email":"user@example.com","template":"news","data":{"n":1},"delay":3600000}`)

	write("New, and longer")
	testkit.WaitFor(t, patienceInTests, "the change to be seen", func() bool {
		var shown struct {
			Locales []struct{ Files map[string]string }
		}
		get(t, a.Addr(), "/templates/news", &shown)
		return strings.Contains(shown.Locales[0].Files["news.html"], "New")
	})
	post(t, a.Addr(), "/jobs/send-email", `{"email":"user@example.com","template":"news","data":{"n":2}}`)
	for _, path := range []string{"/jobs/" + later.ID + "/run", "/schedules/news/run"} {
		if code := put(path, ""); code >= 300 {
			t.Errorf("%s is answered with %d", path, code)
		}
	}
	want := []string{"New, and longer 2", "New, and longer 3", "Old 1"}
	testkit.WaitFor(t, patienceInTests, "three mails", func() bool { return len(caught(t, a.Addr())) == 3 })
	if got := slices.Sorted(slices.Values(caught(t, a.Addr()))); !slices.Equal(got, want) {
		t.Errorf("the mails are %q, want %q", got, want)
	}
}
