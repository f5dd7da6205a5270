package tasks

// Timetabled is an entry of the built-in timetable.
type Timetabled struct {
	Name    string // of the schedule
	Type    string // of the job that each slot makes
	Payload Payload
	// Cron has five fields, or is one of @hourly, @daily, … or "@every 90s".
	Cron     string
	TimeZone string // an IANA name, "UTC" when empty
	// Missed is what becomes of slots at which no scheduler ran: "skip" leaves
	// them out, "once" makes one job for all of them.
	Missed string
	// NoOverlap leaves a slot out while the job of one before is not over.
	NoOverlap bool
}

// Timetable is what Postrider does by itself, at the times of UTC. An entry of
// your own is added here, or without a new build in the timetable file. The
// reminders are added for each time zone in which there is somebody to remind:
// see Remind.
func Timetable() []Timetabled {
	return []Timetabled{
		{
			Name: "heartbeat", Type: LogHeartbeat.Name, Payload: &Heartbeat{Message: "still here"},
			Cron: "* * * * *", Missed: "skip",
		},
		{
			Name: "chat-archive", Type: ChatArchive.Name, Payload: &Archiving{},
			Cron: "* * * * *", Missed: "skip", NoOverlap: true,
		},
		{
			Name: "cleanup", Type: MaintenanceCleanup.Name, Payload: &Cleanup{},
			Cron: "0 3 * * sun", Missed: "once", NoOverlap: true,
		},
	}
}

// Remind is the timetable's entry that mails the recipients a reminder each day
// at 08:00 of the time zone.
func Remind(name, timeZone string, recipients []string) Timetabled {
	return Timetabled{
		Name: name, Type: EmailReminder.Name, Payload: &Reminder{Recipients: recipients},
		Cron: "0 8 * * *", TimeZone: timeZone, Missed: "once",
	}
}
