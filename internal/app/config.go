package app

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/live"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/internal/mail/bounce"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/internal/work"
	"github.com/postrider/postrider/tasks"
)

//go:generate go run ../../docs/generate.go

// Config is every setting of every process, a section a package.
type Config struct {
	Broker  broker.Config
	Store   store.Config
	DataDir string `env:"POSTRIDER_DATA_DIR" envDefault:"data" help:"where the one-process postrider keeps its SQLite database when DATABASE_URL is not set, and postrider dev what it signs the tokens of /dev/token with"`
	// Prometheus is an http URL, or empty.
	Prometheus string `env:"POSTRIDER_PROMETHEUS_URL" secret:"true" help:"a Prometheus that scrapes the schedulers, for the metrics page of asynqmon in /admin/queues; see docs/observe.md"`
	Mail       mail.Config
	Files      attach.Config
	// Categories of mail.
	Categories mail.Categories
	Feedback   feedback.Config
	Bounce     bounce.Config
	Templates  template.Config
	HTTP       httpapi.Config
	Auth       auth.Config
	Rooms      auth.RoomsConfig
	Fetch      fetch.Config
	Limit      limit.Config
	Live       live.Config
	Work       work.Config
	Table      schedule.Config
	Keep       job.Retention
	Audit      audit.Config
	Alert      alert.Config
	Answer     delivery.Config
	Log        telemetry.Config
	Trace      telemetry.TraceConfig
	Client     Client
}

// Client is the API that the operator's commands speak to.
type Client struct {
	URL string `env:"POSTRIDER_URL" envDefault:"http://127.0.0.1:8080" secret:"true" help:"the API that the commands postrider jobs and send-email speak to"`
	Key string `env:"POSTRIDER_KEY" secret:"true" help:"the secret of the API key that they use"`
}

// Load reads a role's settings from environ. The error joins all that is
// wrong, each part naming its variable; the report can be shown all the same.
func Load(r Role, environ []string) (Config, *config.Report, error) {
	var c Config
	report, err := config.Load(&c, environ, r.Defaults)
	if err != nil {
		return c, report, err
	}
	if r.OneProcess && c.Store.URL == "" {
		c.Store.URL = "sqlite:" + filepath.Join(c.DataDir, "postrider.db")
	}
	return c, report, c.check(r)
}

// check finds what the sections cannot see: how they go together, in a process
// of this role.
func (c Config) check(r Role) error {
	var errs []error
	if !r.OneProcess {
		if c.Store.URL == "" || c.Store.SQLite() {
			errs = append(errs, fmt.Errorf("DATABASE_URL must name a PostgreSQL, postgres://user:password@host/name: %s shares its data with other processes, which SQLite cannot", r.Name))
		}
		if c.Broker.Embedded() {
			errs = append(errs, fmt.Errorf("REDIS_URL must name a Redis server: %s shares its queues with other processes", r.Name))
		}
	}
	if r.Worker && c.Mail.URL == "" && !r.CatchMail {
		errs = append(errs, errors.New("SMTP_URL must name the mail server, smtp://user:password@host:port; only postrider dev does without, and catches the mails"))
	}
	errs = append(errs, c.checkLimits()...)
	if _, err := c.prometheus(); err != nil {
		errs = append(errs, err)
	}
	if r.API {
		errs = append(errs, httpapi.CheckExposure(c.HTTP.Addr, len(c.Auth.APIKeys) == 0))
	}
	if r.API && c.Bounce.Addr != "" && c.Mail.BounceDomain == "" {
		errs = append(errs, errors.New("POSTRIDER_BOUNCE_ADDR needs POSTRIDER_BOUNCE_DOMAIN, the domain that mail is taken for there"))
	}
	if r.CatchMail && c.Mail.URL == "" && len(c.Auth.APIKeys) > 0 && httpapi.CheckExposure(c.HTTP.Addr, true) != nil {
		errs = append(errs, fmt.Errorf("POSTRIDER_HTTP_ADDR %q can be reached from other machines, and /dev/mail shows every mail without a login: set SMTP_URL, or serve on 127.0.0.1", c.HTTP.Addr))
	}
	if r.Scheduler && !r.CatchMail && len(c.Alert.Mail) > 0 && c.Mail.URL == "" {
		errs = append(errs, errors.New("POSTRIDER_ALERT_MAIL needs SMTP_URL, by which schedulers send what the queues may not"))
	}
	if r.Scheduler {
		_, err := schedule.Seeds(c.Table) // reads POSTRIDER_TIMETABLE
		errs = append(errs, err)
	}
	if r.Worker {
		errs = append(errs, c.Mail.CheckFiles())
		errs = append(errs, c.Work.CheckBudget(c.Mail.Timeout, tasks.Builtin()))
	}
	return errors.Join(errs...)
}

// prometheus reads POSTRIDER_PROMETHEUS_URL; nil when it is not set.
func (c Config) prometheus() (*url.URL, error) {
	if c.Prometheus == "" {
		return nil, nil
	}
	u, err := url.Parse(c.Prometheus)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("POSTRIDER_PROMETHEUS_URL must be an http or https URL") // its own words could show a password
	}
	return u, nil
}

// checkLimits finds limits on what does not exist. Not every process is told of
// the mail servers; which API keys there are the database knows (openKeys).
func (c Config) checkLimits() (errs []error) {
	for _, queue := range c.Limit.Jobs.Names(limit.Queue) {
		if !slices.Contains(c.Broker.Queues.Names(), queue) {
			errs = append(errs, fmt.Errorf("POSTRIDER_LIMITS names the queue %s, which POSTRIDER_QUEUES does not have", queue))
		}
	}
	var keys []limit.Key
	for _, name := range c.Mail.Providers() {
		keys = append(keys, limit.OfProvider(name))
	}
	for _, provider := range c.Limit.Jobs.Names(limit.Provider) {
		if len(keys) > 0 && !slices.Contains(keys, limit.OfProvider(provider)) {
			errs = append(errs, fmt.Errorf("POSTRIDER_LIMITS names the provider %s, which SMTP_URL does not have", provider))
		}
	}
	return errs
}

// SettingsTable is every setting with its default and meaning, as Markdown.
func SettingsTable() string { return config.Table(&Config{}) }
