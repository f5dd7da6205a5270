package schedule_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/tasks"
)

func file(t *testing.T, text string) schedule.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "timetable.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return schedule.Config{Timetable: path}
}

// seed does what a scheduler does when it starts.
func (r *rig) seed(c schedule.Config) {
	r.t.Helper()
	seeds, err := schedule.Seeds(c)
	r.ok(err)
	r.ok(r.Seed(r.t.Context(), seeds))
}

func (r *rig) names() string {
	r.t.Helper()
	all, err := r.List(r.t.Context())
	r.ok(err)
	var names []string
	for _, e := range all {
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}

const ownTimetable = `
# the shop's own
schedules:
  - name: report
    type: email:send
    cron: "30 8 * * mon-fri"
    time_zone: Europe/Berlin
    missed: all
    missed_limit: 3
    overlap: skip
    queue: email
    payload:
      to: [team@example.com]
      subject: Good morning
      text: |
        Here is
        the report.
  - {name: heartbeat, type: log:heartbeat, cron: "@every 5m", paused: true}
`

func TestBuiltinTimetable(t *testing.T) {
	r := newRig(t, lite(t))
	var c schedule.Config
	r.ok(c.Reminders.UnmarshalText([]byte("Europe/Berlin=ann@example.com Bob@example.com; America/New_York=carol@example.com;")))
	r.seed(c)
	if got := r.names(); got != "chat-archive cleanup heartbeat reminder:america.new_york reminder:europe.berlin" {
		t.Fatalf("the schedules are %s", got)
	}
	for name, want := range map[string]string{ // type and next slot, from 2026-07-01 12:00
		"cleanup": "maintenance:cleanup Sun 07-05 03:00", "heartbeat": "log:heartbeat Wed 07-01 12:01",
		"chat-archive":           "chat:archive Wed 07-01 12:01",
		"reminder:europe.berlin": "email:reminder Thu 07-02 06:00", "reminder:america.new_york": "email:reminder Thu 07-02 12:00",
	} {
		e := r.get(name)
		if got := e.Type + e.NextAt.Format(" Mon 01-02 15:04"); got != want || e.Source != schedule.FromBuiltin {
			t.Errorf("%s is %s of %s, want %s", name, got, e.Source, want)
		}
	}
	if p, err := tasks.EmailReminder.Decode(r.get("reminder:europe.berlin").Payload); err != nil || strings.Join(p.Recipients, " ") != "ann@example.com Bob@example.com" {
		t.Errorf("the reminder is %+v (%v)", p, err)
	}
	c.Reminders = c.Reminders[:1]
	r.seed(c)
	if got := r.names(); got != "chat-archive cleanup heartbeat reminder:europe.berlin" {
		t.Errorf("the schedules are %s", got)
	}
}

// TestBuiltinTimetableWithoutItsQueue holds that no scheduler fails to start for
// that.
func TestBuiltinTimetableWithoutItsQueue(t *testing.T) {
	r := newRig(t, lite(t), "default")
	r.seed(schedule.Config{})
	if got := r.names(); got != "" {
		t.Errorf("the schedules are %s", got)
	}
	r.seed(file(t, "schedules:\n- {name: cleanup, type: maintenance:cleanup, cron: '@weekly', queue: default}"))
	if got := r.names(); got != "cleanup" {
		t.Errorf("the schedules are %s", got)
	}
}

func TestTimetableFile(t *testing.T) {
	r := newRig(t, lite(t))
	r.seed(file(t, ownTimetable))
	if got := r.names(); got != "chat-archive cleanup heartbeat report" {
		t.Fatalf("the schedules are %s", got)
	}
	e := r.get("report")
	mail, err := tasks.EmailSend.Decode(e.Payload)
	if err != nil || mail.Text != "Here is\nthe report.\n" {
		t.Errorf("the payload is %s (%v)", e.Payload, err)
	}
	e.Payload = nil
	want := schedule.Definition{
		Name: "report", Type: "email:send", Queue: "email", Cron: "30 8 * * mon-fri", TimeZone: "Europe/Berlin",
		Missed: schedule.MissedAll, MissedLimit: 3, Overlap: schedule.OverlapSkip,
	}
	if e.Name != want.Name || e.Cron != want.Cron || e.Missed != want.Missed || e.MissedLimit != 3 || e.Overlap != want.Overlap || e.Queue != "email" || e.Source != schedule.FromFile {
		t.Errorf("it is %+v", e)
	}
	if e := r.get("heartbeat"); e.Source != schedule.FromFile || !e.Paused || e.Cron != "@every 5m" {
		t.Errorf("the heartbeat is %+v", e)
	}
}

// TestSeedsAndPeople holds what Source says.
func TestSeedsAndPeople(t *testing.T) {
	r := newRig(t, lite(t))
	ctx := t.Context()
	r.seed(file(t, ownTimetable))
	before := r.get("report")

	r.clock.Advance(time.Minute)
	r.seed(file(t, ownTimetable))
	if got := r.get("report"); !got.UpdatedAt.Equal(before.UpdatedAt) {
		t.Errorf("the same seed changed it at %v", got.UpdatedAt)
	}
	_, err := r.Pause(ctx, "report", "ann")
	r.ok(err)
	_, err = r.Resume(ctx, "heartbeat", "ann")
	r.ok(err)
	later := file(t, strings.Replace(ownTimetable, "30 8", "30 9", 1))
	r.seed(later)
	if e := r.get("report"); e.Cron != "30 9 * * mon-fri" || !e.Paused || !e.CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("the seed's change made it %+v", e)
	}
	if e := r.get("heartbeat"); e.Paused {
		t.Error("the seed paused it again")
	}

	_, err = r.Replace(ctx, each("report"), "ann")
	r.ok(err)
	r.create(each("mine"))
	r.seed(later)
	if e := r.get("report"); e.Source != schedule.FromAPI || e.Cron != "* * * * *" {
		t.Errorf("the seed overrode it: %+v", e)
	}
	r.seed(schedule.Config{})
	if got := r.names(); got != "chat-archive cleanup heartbeat mine report" {
		t.Errorf("the schedules are %s", got)
	}
	if e := r.get("heartbeat"); e.Source != schedule.FromBuiltin || e.Cron != "* * * * *" {
		t.Errorf("without the file the heartbeat is %+v", e)
	}
	r.wantCode(r.Delete(ctx, "cleanup", "ann"), job.CodeConflict)
	r.ok(r.Delete(ctx, "report", "ann"))
	r.seed(later)
	if e := r.get("report"); e.Source != schedule.FromFile || e.Cron != "30 9 * * mon-fri" {
		t.Errorf("deleted and seeded it is %+v", e)
	}
}

// TestTwoSeeders start at the same moment.
func TestTwoSeeders(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			r := newRig(t, db.url(t))
			done := make(chan error)
			for range 4 {
				go func() {
					seeds, err := schedule.Seeds(schedule.Config{})
					if err == nil {
						err = r.Seed(t.Context(), seeds)
					}
					done <- err
				}()
			}
			for range 4 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if got := r.names(); got != "chat-archive cleanup heartbeat" {
				t.Errorf("the schedules are %s", got)
			}
		})
	}
}

// crowd is n schedules of a timetable file.
func crowd(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\n- {name: s%d, type: noop, cron: '@daily'}", i)
	}
	return b.String()
}

func TestTimetableFileRefusals(t *testing.T) {
	r := newRig(t, lite(t))
	for _, test := range []struct{ text, want string }{
		{"", "timetable.yaml is empty"},
		{"schedules: 5", "line 1"},
		{"schedule: []", "line 1: field schedule not found"},
		{"schedules:\n- {name: a, typ: noop}", "line 2: field typ not found"},
		{"schedules:\n- {name: a, type: noop, cron: '@daily', missed_limit: many}", "line 2"},
		{"schedules:\n\t- x", "timetable.yaml"},
		{"schedules: []\n---\nschedules: []", "more than one document"},
		{"schedules:\n- {name: a, type: noop, cron: '@daily'}\n- name: b\n  type: noop\n  cron: 61 * * * *", `timetable.yaml, line 3: schedule "b": cron is not a cron expression`},
		{"schedules:\n- {name: a, type: noop, cron: '@daily'}\n\n- {name: a, type: noop, cron: '@daily'}", `line 4: schedule "a": has its name in common with the one at timetable.yaml, line 2`},
		{"schedules:\n- {name: a, type: noop, cron: '@daily', payload: {1: x}}", `line 2: schedule "a": payload`},
		{"schedules:\n- {name: a, type: email:send, cron: '@daily', payload: {to: [nobody]}}", `line 2: schedule "a": payload.to[0] is not a mail address`},
		{"schedules:\n- {name: a, type: noop:ephemeral, cron: '@daily'}", `line 2: schedule "a": type is ephemeral`},
		{"schedules:\n- ", "line 2: the schedule is empty"},
		{"schedules:" + crowd(schedule.MaxEntries-1), "POSTRIDER_TIMETABLE: with the built-in ones there are 1002 schedules"},
	} {
		seeds, err := schedule.Seeds(file(t, test.text))
		if err == nil {
			err = r.Seed(t.Context(), seeds)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "schedule.file") {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
	if got := r.names(); got != "" {
		t.Errorf("a bad timetable left %s", got)
	}
	if _, err := schedule.Seeds(schedule.Config{Timetable: filepath.Join(t.TempDir(), "missing.yaml")}); err == nil || !strings.Contains(err.Error(), "POSTRIDER_TIMETABLE") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestRemindersRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "names nobody",
		"ann@example.com":                 "not of the form",
		"Mars/Base=ann@example.com":       "IANA time zone",
		"Local=ann@example.com":           "IANA time zone",
		"=ann@example.com":                "IANA time zone",
		"UTC=":                            "recipients must not be empty",
		"UTC=ann":                         "recipients[0] is not a mail address",
		"UTC=a@b.example A@B.example":     "recipients[1] is named before",
		"UTC=a@b.example;UTC=c@d.invalid": "named twice",
	} {
		var r schedule.Reminders
		if err := r.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
