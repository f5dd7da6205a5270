package app

// Role is what a process is for.
type Role struct {
	// Name is the program's, for its logs.
	Name string
	// API, Worker and Scheduler say which parts run.
	API, Worker, Scheduler bool
	// OneProcess may keep its truth in SQLite and its queues in an embedded
	// Redis: there is no other process that would have to see them.
	OneProcess bool
	// CatchMail keeps mails for /dev/mail where no SMTP_URL is set.
	CatchMail bool
	// Defaults stand in for those of the settings, by variable.
	Defaults map[string]string
}

// The processes. Dev is Serve with other defaults: parts that need nothing
// installed.
var (
	API       = Role{Name: "api", API: true, Defaults: addr("127.0.0.1:8080")}
	Worker    = Role{Name: "worker", Worker: true, Defaults: addr(":8081")}
	Scheduler = Role{Name: "scheduler", Scheduler: true, Defaults: addr(":8082")}
	Serve     = Role{Name: "postrider", API: true, Worker: true, Scheduler: true, OneProcess: true, Defaults: addr("127.0.0.1:8080")}
	Dev       = Role{
		Name: "postrider", API: true, Worker: true, Scheduler: true, OneProcess: true, CatchMail: true,
		Defaults: map[string]string{"POSTRIDER_HTTP_ADDR": "127.0.0.1:8080", "REDIS_URL": "embedded:"},
	}
)

func addr(a string) map[string]string { return map[string]string{"POSTRIDER_HTTP_ADDR": a} }
