package dashboard

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
)

// filled is the form of a schedule as people fill it in, changed by pairs.
func filled(pairs ...string) url.Values {
	v := url.Values{
		"name": {"report"}, "type": {"log:heartbeat"}, "payload": {`{"message":"hi"}`}, "queue": {""}, "cron": {"30 8 * * *"}, "time_zone": {"Europe/Berlin"},
		"missed": {"once"}, "missed_limit": {""}, "overlap": {"allow"},
	}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// opened is filled with what the form of a schedule that is there brings.
func (m *mailRig) opened(name string, pairs ...string) url.Values {
	m.t.Helper()
	e := m.entry(name)
	return filled(append([]string{"seen", milliseconds(e.UpdatedAt), "created", milliseconds(e.CreatedAt)}, pairs...)...)
}

func (m *mailRig) entry(name string) schedule.Entry {
	m.t.Helper()
	e, err := m.schedules.Get(m.t.Context(), name)
	if err != nil {
		m.t.Fatal(err)
	}
	return e
}

func (p reply) wantTo(t testing.TB, location string) reply {
	t.Helper()
	if got := p.header.Get("Location"); p.status != http.StatusSeeOther || got != location {
		t.Errorf("it is answered %d and leads to %s, want %s: %s", p.status, got, location, p.body)
	}
	return p
}

func TestScheduleLife(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	ann.get(scheduleRoot).want(t, http.StatusOK, "None.", "New schedule")
	ann.get(scheduleRoot+"/-new").want(t, http.StatusOK, "<option>log:heartbeat</option>", `id="next"`).lacks(t, "noop:ephemeral")
	ann.post(scheduleRoot, filled()).wantTo(t, scheduleRoot+"/report?did=created")
	page := ann.get(scheduleRoot+"/report?did=created").want(t, http.StatusOK, "It is created.", "each day at 08:30", "08:30:00 CE", "&#34;message&#34;: &#34;hi&#34;", "It has not run yet")
	if n := strings.Count(page.body, "<li>"); n != schedule.PreviewSlots {
		t.Errorf("%d next slots are shown", n)
	}
	if e := m.entry("report"); e.Type != "log:heartbeat" || e.TimeZone != "Europe/Berlin" || e.Paused || e.MissedLimit != 10 {
		t.Errorf("it is %+v", e)
	}

	// Twice the same form is one run.
	key := regexp.MustCompile(`name="key" value="([^"]+)"`).FindStringSubmatch(page.body)[1]
	for range 2 {
		ann.post(scheduleRoot+"/report/run", url.Values{"key": {key}}).wantTo(t, scheduleRoot+"/report?did=run")
	}
	runs, err := m.schedules.Runs(t.Context(), "report", 0, 10)
	if err != nil || len(runs) != 1 || runs[0].Actor != "dashboard:ann" || runs[0].JobState != job.Waiting {
		t.Fatalf("the runs are %+v: %v", runs, err)
	}
	link := "/admin/jobs/" + string(runs[0].JobID)
	ann.get(scheduleRoot+"/report").want(t, http.StatusOK, "by hand", "by dashboard:ann", link, "waiting")
	ann.get(scheduleRoot).want(t, http.StatusOK, link, "each day at 08:30", `href="/admin/schedules/report"`)
	ann.get(root).want(t, http.StatusOK, `href="/admin/schedules/report"`)

	ann.post(scheduleRoot+"/report/pause", nil).wantTo(t, scheduleRoot+"/report?did=paused")
	ann.get(scheduleRoot+"/report").want(t, http.StatusOK, "None while it is paused", "/resume")
	ann.get(scheduleRoot+"/report/edit").want(t, http.StatusOK, `value="30 8 * * *"`, "<option selected>log:heartbeat</option>")
	ann.post(scheduleRoot+"/report/save", m.opened("report", "cron", "@every 90s", "missed", "all", "missed_limit", "3", "overlap", "skip", "queue", "email", "name", "ignored")).
		wantTo(t, scheduleRoot+"/report?did=saved")
	if e := m.entry("report"); !e.Paused || e.Cron != "@every 90s" || e.Missed != schedule.MissedAll || e.MissedLimit != 3 || e.Overlap != schedule.OverlapSkip || e.Queue != "email" {
		t.Errorf("saved it is %+v", e)
	}
	ann.post(scheduleRoot+"/report/resume", nil).wantTo(t, scheduleRoot+"/report?did=resumed")
	if m.entry("report").Paused {
		t.Error("it is paused")
	}
	ann.post(scheduleRoot+"/report/delete", nil).wantTo(t, scheduleRoot+"?did=deleted")
	ann.get(scheduleRoot+"?did=deleted").want(t, http.StatusOK, "It is deleted", "None.")
	for _, path := range []string{"/report", "/report/edit", "/Report"} {
		ann.get(scheduleRoot+path).want(t, http.StatusNotFound)
	}
	for _, command := range []string{"pause", "resume", "run", "delete", "dance"} {
		ann.post(scheduleRoot+"/report/"+command, nil).want(t, http.StatusNotFound)
	}
	if lines := m.log.String(); !strings.Contains(lines, "command=deleted") || !strings.Contains(lines, "user=ann") {
		t.Errorf("the log says %s", lines)
	}
}

// What the API refuses the page refuses with the same words, at the field.
func TestScheduleFormRefusals(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	for _, c := range []struct{ field, value, id, words string }{
		{"name", "Report", "name", "The name must be 1 to 100 lower-case letters"},
		{"cron", "61 * * * *", "cron", "The cron is not a cron expression"},
		{"cron", "0 0 30 2 *", "cron", "there is no such day"},
		{"time_zone", "Europe/Bielefeld", "time_zone", "The time zone must be an IANA time zone"},
		{"type", "noop:ephemeral", "type", "The type is ephemeral"},
		{"type", "log:nothing", "type", "The type"},
		{"queue", "nowhere", "queue", "The queue must be one of"},
		{"payload", `{"massage":"hi"}`, "payload", "The payload massage"},
		{"payload", `{`, "payload", "The payload"},
		{"missed", "never", "missed", "The missed must be skip, once or all"},
		{"missed_limit", "101", "missed_limit", "The missed limit must be from 1 to 100"},
		{"missed_limit", "some", "missed_limit", "The missed limit must be from 1 to 100"},
		{"missed_limit", "0", "missed_limit", "The missed limit must be from 1 to 100"},
		{"overlap", "maybe", "overlap", "The overlap must be allow or skip"},
	} {
		page := ann.post(scheduleRoot, filled("payload", "{}", c.field, c.value)).want(t, http.StatusUnprocessableEntity,
			"Not saved", `id="why-`+c.id+`"`, `aria-describedby="why-`+c.id+`"`, c.words)
		if n := strings.Count(page.body, `aria-invalid`); n != 1 {
			t.Errorf("%s %s: %d fields are marked", c.field, c.value, n)
		}
	}
	// Several at once, each at its own; what was typed stays.
	ann.post(scheduleRoot, filled("cron", "nonsense", "time_zone", "Mars/Olympus", "payload", `{"message":7}`)).want(t, http.StatusUnprocessableEntity,
		`id="why-cron"`, `id="why-time_zone"`, `id="why-payload"`, `value="nonsense"`, `value="Mars/Olympus"`, `{&#34;message&#34;:7}`)
	ann.post(scheduleRoot, filled("payload", strings.Repeat("x", maxScheduleForm))).want(t, http.StatusUnprocessableEntity, "larger than")
	if all, err := m.schedules.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("there are %d schedules: %v", len(all), err)
	}
	ann.post(scheduleRoot, filled()).want(t, http.StatusSeeOther)
	ann.post(scheduleRoot, filled()).want(t, http.StatusConflict, "there is a schedule &#34;report&#34; already")
	ann.post(scheduleRoot+"/report/save", filled("cron", "@daily")).want(t, http.StatusUnprocessableEntity, "open it again")
}

func TestSchedulePreview(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	ask := func(pairs ...string) reply {
		t.Helper()
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return ann.get(scheduleRoot+"/-preview?"+v.Encode()).want(t, http.StatusOK).lacks(t, "<html")
	}
	if got := ask("cron", "30 8 * * *", "time_zone", "Asia/Tokyo"); strings.Count(got.body, "<li>") != 5 || !strings.Contains(got.body, "08:30:00 JST") || !strings.Contains(got.body, "23:30:00") {
		t.Errorf("it shows %s", got.body)
	}
	created := time.Now().Add(-time.Hour - 7*time.Second)
	if got := ask("cron", "@every 2h", "created", milliseconds(created)); !strings.Contains(got.body, clock(created.Add(2*time.Hour))) {
		t.Errorf("@every shows %s", got.body)
	}
	ask("cron", "61 * * * *", "time_zone", "Nowhere").want(t, http.StatusOK, "The cron is not", "The time zone must be")
	// Without a script the form's own button does the same, and saves nothing.
	ann.post(scheduleRoot, filled("preview", "1", "cron", "15 * * * *", "name", "")).want(t, http.StatusOK, "each hour at minute 15", `value="15 * * * *"`)
	ann.post(scheduleRoot, filled()).want(t, http.StatusSeeOther)
	ann.post(scheduleRoot+"/report/save", m.opened("report", "preview", "1", "cron", "@hourly")).want(t, http.StatusOK, "each hour at minute 0")
	if e := m.entry("report"); e.Cron != "30 8 * * *" {
		t.Errorf("the preview has saved %s", e.Cron)
	}
}

// Of two who edit the same schedule the later one is told, sees what there is
// now, and can put theirs in its place.
func TestTwoEditOneSchedule(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	ann.post(scheduleRoot, filled()).want(t, http.StatusSeeOther)
	first, second := m.opened("report", "cron", "@hourly"), m.opened("report", "cron", "@weekly")
	ann.post(scheduleRoot+"/report/save", first).want(t, http.StatusSeeOther)
	page := ann.post(scheduleRoot+"/report/save", second).want(t, http.StatusConflict, "changed meanwhile", "What you typed is below", "<code>@hourly</code>", `value="@weekly"`)
	if e := m.entry("report"); e.Cron != "@hourly" {
		t.Errorf("it is %s", e.Cron)
	}
	second.Set("seen", regexp.MustCompile(`name="seen" value="([^"]+)"`).FindStringSubmatch(page.body)[1])
	ann.post(scheduleRoot+"/report/save", second).want(t, http.StatusSeeOther)
	if e := m.entry("report"); e.Cron != "@weekly" {
		t.Errorf("it is %s", e.Cron)
	}

	// One that was deleted meanwhile can be made again.
	gone := m.opened("report", "cron", "@monthly")
	ann.post(scheduleRoot+"/report/delete", nil).want(t, http.StatusSeeOther)
	ann.post(scheduleRoot+"/report/save", gone).want(t, http.StatusConflict, "deleted meanwhile", `action="/admin/schedules"`, `value="report"`, "Create")
}

// A process whose settings lack a schedule's queue or type must not show another
// in its place: saving would move the schedule there.
func TestScheduleFormKeepsWhatItDoesNotKnow(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	ann.post(scheduleRoot, filled("queue", "email")).want(t, http.StatusSeeOther)
	m.Queues = slices.DeleteFunc(slices.Clone(m.Queues), func(q string) bool { return q == "email" })
	ann.get(scheduleRoot+"/report/edit").want(t, http.StatusOK, "<option selected>email</option>")
	ann.post(scheduleRoot+"/report/save", m.opened("report", "type", "shop:gone", "queue", "email")).want(t, http.StatusUnprocessableEntity, "<option selected>shop:gone</option>")
}

func TestScheduleHistoryPages(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	ann.post(scheduleRoot, filled()).want(t, http.StatusSeeOther)
	const n = runsPerPage + 7
	for i := range n {
		r := schedule.Run{Name: "report", At: time.Now(), Outcome: schedule.RunFired, JobID: job.NewID(), Actor: fmt.Sprintf("run-%d.", i)}
		if err := m.store.Schedules().Note(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	path := scheduleRoot + "/report"
	for path != "" {
		page := ann.get(path).want(t, http.StatusOK)
		for _, who := range regexp.MustCompile(`run-\d+\.`).FindAllString(page.body, -1) {
			seen[who] = true
		}
		next := regexp.MustCompile(`class="older" href="([^"]+)"`).FindStringSubmatch(page.body)
		if path = ""; next != nil {
			path = scheduleRoot + "/report" + next[1]
		}
	}
	if len(seen) != n {
		t.Errorf("the pages have %d runs, want %d: %v", len(seen), n, maps.Collect(maps.All(seen)))
	}
	ann.get(scheduleRoot+"/report?before=0").want(t, http.StatusUnprocessableEntity)
}

// Viewers look, and see no address; nobody else gets in.
func TestSchedulesForViewers(t *testing.T) {
	m := newMailRig(t)
	ann, bob := m.as("ann"), m.as("bob")
	const personal = "reminder:user@example.com"
	for _, name := range []string{"report", personal} {
		ann.post(scheduleRoot, filled("name", name, "payload", `{"message":"to user@example.com"}`)).want(t, http.StatusSeeOther)
	}
	seeds := []schedule.Seed{{Source: schedule.FromBuiltin, Definition: schedule.Definition{Name: "email:reminder@europe-berlin", Type: "noop", Cron: "0 8 * * *"}}}
	if err := m.schedules.Seed(t.Context(), seeds); err != nil {
		t.Fatal(err)
	}
	bob.get(scheduleRoot).want(t, http.StatusOK, "u***@example.com", `href="/admin/schedules/report"`, "email:reminder@europe-berlin</a>").lacks(t, "user@", "New schedule")
	bob.get(scheduleRoot+"/report").want(t, http.StatusOK, "Next slots").lacks(t, "Run now", "Pause", "Edit", "Delete", "message")
	bob.get(schedulePath(personal)).want(t, http.StatusOK, "u***@example.com").lacks(t, "user@")
	ann.get(schedulePath(personal)).want(t, http.StatusOK, personal)
	for _, path := range []string{"/-new", "/report/edit"} {
		bob.get(scheduleRoot+path).want(t, http.StatusForbidden)
	}
	before := m.entry("report")
	for _, path := range []string{"", "/report/save", "/report/pause", "/report/resume", "/report/run", "/report/delete"} {
		bob.post(scheduleRoot+path, m.opened("report")).want(t, http.StatusForbidden)
		m.anonymous().post(scheduleRoot+path, filled()).want(t, http.StatusUnauthorized)
		ann.post(scheduleRoot+path, filled(), func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }).want(t, http.StatusForbidden)
	}
	m.anonymous().get(scheduleRoot).want(t, http.StatusSeeOther)
	if after := m.entry("report"); !after.UpdatedAt.Equal(before.UpdatedAt) {
		t.Errorf("it was changed: %+v", after)
	}
	// One of the timetable cannot be deleted, only paused.
	ann.get(schedulePath(seeds[0].Name)).want(t, http.StatusOK, "built in").lacks(t, "Delete")
	ann.post(schedulePath(seeds[0].Name)+"/delete", nil).want(t, http.StatusConflict, "pause it instead")
}

func TestSchedulesWithoutDatabase(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/report", "/report/edit", "/-new", "/-preview"} {
		if got := ann.get(scheduleRoot + path); got.status < 500 {
			t.Errorf("%s is answered %d", path, got.status)
		}
	}
	for _, path := range []string{"", "/report/pause"} {
		if got := ann.post(scheduleRoot+path, filled()); got.status < 500 {
			t.Errorf("posting %s is answered %d", path, got.status)
		}
	}
}
