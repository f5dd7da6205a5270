package tasks_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/tasks"
)

func ExampleEmailReminder() {
	r, err := tasks.EmailReminder.Decode([]byte(`{"recipients": ["Ann <ann@example.com>", "bob@example.com"], "subject": "Stand up"}`))
	fmt.Println(len(r.Recipients), r.Text, err)
	for _, mail := range r.Mails() {
		fmt.Println(mail.To, mail.Subject)
	}

	_, err = tasks.EmailReminder.Decode([]byte(`{"recipients": ["ann@example.com", "Ann@example.com", "nobody"]}`))
	fmt.Println(err)
	// Output:
	// 2 This is your daily reminder. <nil>
	// ["Ann" <ann@example.com>] Stand up
	// [bob@example.com] Stand up
	// recipients[1] is named before; recipients[2] is not a mail address
}

func ExampleMaintenanceCleanup() {
	c, err := tasks.MaintenanceCleanup.Decode([]byte(`{"inbox_days": 30}`))
	fmt.Println(c.InboxKeep(), c.ArchiveKeep(), err)

	_, err = tasks.MaintenanceCleanup.Decode([]byte(`{"archive_days": 90}`))
	fmt.Println(err)
	// Output:
	// 720h0m0s 168h0m0s <nil>
	// archive_days must be from 1 to 89
}

func ExampleScheduleTick() {
	t, err := tasks.ScheduleTick.Decode([]byte(`{"schedule": "heartbeat"}`))
	fmt.Println(t.Schedule, err, tasks.ScheduleTick.Ephemeral)
	// Output:
	// heartbeat <nil> true
}

// TestTimetable holds that each entry's payload is one of its type's, and that
// its type is durable.
func TestTimetable(t *testing.T) {
	c, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range append(tasks.Timetable(), tasks.Remind("reminder", "Europe/Berlin", []string{"ann@example.com"})) {
		raw, err := json.Marshal(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		typ, ok := c.Lookup(e.Type)
		if !ok || typ.Ephemeral {
			t.Errorf("%s has the type %s", e.Name, e.Type)
			continue
		}
		if _, _, err := typ.Canonical(raw); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}

func TestTimetableTypesRefuse(t *testing.T) {
	many := `"` + strings.Repeat(`a@b.example","`, tasks.MaxReminded) + `z@b.example"`
	for _, test := range []struct {
		typ           tasks.Type
		payload, want string
	}{
		{tasks.EmailReminder.Type, `{}`, "recipients must not be empty"},
		{tasks.EmailReminder.Type, `{"recipients":[` + many + `]}`, "has 1001 entries"},
		{tasks.EmailReminder.Type, `{"recipients":["a@b.example"],"subject":"a\nb"}`, "subject must not contain"},
		{tasks.EmailReminder.Type, `{"recipients":["a@b.example"],"text":"\u0000"}`, "text must be UTF-8"},
		{tasks.MaintenanceCleanup.Type, `{"inbox_days":-1}`, "inbox_days must be"},
		{tasks.MaintenanceCleanup.Type, `{"inbox_days":3651}`, "inbox_days must be"},
		{tasks.MaintenanceCleanup.Type, `{"archive_days":-1}`, "archive_days must be"},
		{tasks.ScheduleTick.Type, `{"schedule":"a\nb"}`, "schedule must be"},
	} {
		if _, err := test.typ.Decode([]byte(test.payload)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s of %.50s: %v, want %q", test.typ.Name, test.payload, err, test.want)
		}
	}
}
