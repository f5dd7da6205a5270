package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/telemetry"
)

// Migrate brings the schema of DATABASE_URL up to date, and names the database
// for people: unset, that is a SQLite file.
func Migrate(ctx context.Context, sys System) (database string, err error) {
	cfg, _, err := Load(anyRole, sys.Environ)
	if err != nil {
		return "", err
	}
	cfg.Store.AutoMigrate = true
	st, err := store.Open(ctx, cfg.Store, telemetry.NewLogger(sys.Stderr, cfg.Log), store.Options{})
	if err != nil {
		return "", err
	}
	return cfg.Store.Name(), st.Close()
}

// Migrations lists the schema's migrations and when each was applied.
func Migrations(ctx context.Context, sys System) ([]store.Migration, error) {
	cfg, _, err := Load(anyRole, sys.Environ)
	if err != nil {
		return nil, err
	}
	seen, err := store.Inspect(ctx, cfg.Store)
	return seen.Migrations, err
}

// anyRole is for what only needs the database.
var anyRole = Role{Name: "postrider", OneProcess: true, Defaults: addr("127.0.0.1:8080")}

// Status is how a thing fares that Examine looked at.
type Status string

// The statuses.
const (
	Fine  Status = "ok"
	Warns Status = "warn"
	Fails Status = "FAIL"
)

// Finding is what Examine says of one thing.
type Finding struct {
	What   string `json:"what"`
	Status Status `json:"status"`
	Says   string `json:"says"`
	Mend   string `json:"mend,omitempty"`
}

// examineLimit bounds each look.
const examineLimit = 10 * time.Second

// maxSkew is how far clocks may be apart: delays are counted by the database's
// clock and kept by Redis's and the workers'.
const maxSkew = time.Second

// Examine looks over what a role's settings name, and changes nothing.
func Examine(ctx context.Context, r Role, environ []string) []Finding {
	e := &examination{}
	cfg, report, err := Load(r, environ)
	if report != nil {
		for _, w := range report.Warnings {
			e.add("settings", Warns, w, "correct or remove the variable")
		}
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			e.add("settings", Fails, strings.TrimSpace(line), "correct the variable")
		}
		return e.findings
	}
	e.add("settings", Fine, "complete, and the time budgets fit into each other", "")
	for _, look := range []func(context.Context, Config, Role){e.redis, e.database, e.mail, e.access} {
		bounded, cancel := context.WithTimeout(ctx, examineLimit)
		look(bounded, cfg, r)
		cancel()
	}
	return e.findings
}

type examination struct{ findings []Finding }

func (e *examination) add(what string, s Status, says, mend string) {
	e.findings = append(e.findings, Finding{what, s, says, mend})
}

func (e *examination) redis(ctx context.Context, cfg Config, _ Role) {
	if cfg.Broker.Embedded() {
		e.add("redis", Fine, "embedded: what it holds is rebuilt from the database at each start", "")
		return
	}
	rdb, err := broker.Connect(cfg.Broker)
	if err != nil {
		e.add("redis", Fails, err.Error(), "correct REDIS_URL")
		return
	}
	defer rdb.Close()
	facts, err := broker.Examine(ctx, rdb)
	if err != nil {
		e.add("redis", Fails, err.Error(), "start Redis, or correct REDIS_URL")
		return
	}
	for _, f := range facts {
		name := strings.TrimSpace("redis " + f.Node)
		e.add(name, Fine, "version "+f.Version, "")
		if f.Old {
			e.findings[len(e.findings)-1] = Finding{name, Fails, "version " + f.Version, "run Redis 6.2 or newer"}
		}
		if f.Policy != "noeviction" {
			e.add(name, Fails, "maxmemory-policy is "+f.Policy+": tasks may be thrown away", "CONFIG SET maxmemory-policy noeviction, and in redis.conf")
		}
		if f.AOF {
			e.add(name, Fine, "it keeps an append-only file", "")
		} else {
			e.add(name, Warns, "it keeps no append-only file: after its restart every waiting durable job is sent to it anew, and ephemeral ones are lost", "CONFIG SET appendonly yes, and in redis.conf")
		}
		e.clock(name, f.Skew)
	}
}

func (e *examination) clock(what string, skew time.Duration) {
	if skew.Abs() <= maxSkew {
		e.add(what, Fine, "its clock agrees with this host's", "")
		return
	}
	e.add(what, Warns, fmt.Sprintf("its clock differs from this host's by %s", skew.Round(time.Millisecond)), "keep all hosts' clocks by NTP")
}

func (e *examination) database(ctx context.Context, cfg Config, _ Role) {
	began := time.Now()
	seen, err := store.Inspect(ctx, cfg.Store)
	switch {
	case err != nil:
		e.add("database", Fails, err.Error(), "start the database, or correct DATABASE_URL")
		return
	case seen.Newest > seen.Known() && cfg.Store.AllowNewer:
		e.add("database", Warns, fmt.Sprintf("its schema has version %d, which this program does not know, and that is allowed", seen.Newest), "return to the newer release, and unset POSTRIDER_ALLOW_NEWER_SCHEMA")
	case seen.Newest > seen.Known():
		e.add("database", Fails, fmt.Sprintf("its schema has version %d, which this program does not know", seen.Newest), "run the release that migrated it, or a newer one")
	case seen.Pending() > 0 && !cfg.Store.AutoMigrate:
		e.add("database", Fails, fmt.Sprintf("%d migrations are to be applied", seen.Pending()), "postrider migrate")
	case seen.Pending() > 0:
		e.add("database", Fine, fmt.Sprintf("%d migrations will be applied at the next start", seen.Pending()), "")
	default:
		e.add("database", Fine, fmt.Sprintf("its schema is current (version %d)", seen.Newest), "")
	}
	if !seen.Now.IsZero() && !cfg.Store.SQLite() {
		e.clock("database", seen.Now.Sub(began.Add(time.Since(began)/2)))
	}
}

func (e *examination) mail(ctx context.Context, cfg Config, r Role) {
	if !r.Worker {
		return
	}
	if cfg.Mail.URL == "" {
		e.add("mail", Fine, "mails are caught and shown at /dev/mail", "")
		return
	}
	if !e.signing(ctx, cfg.Mail) {
		return
	}
	sender, err := mail.New(mail.Options{
		Config: cfg.Mail, Senders: 1, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		e.add("mail", Fails, err.Error(), "correct SMTP_URL")
		return
	}
	defer sender.Close()
	for _, c := range sender.Check(ctx) {
		if c.Err != nil {
			e.add("mail "+c.Provider, Fails, c.Err.Error(), "correct SMTP_URL, or ask who runs the mail server")
			continue
		}
		e.add("mail "+c.Provider, Fine, "the server lets us in", "")
	}
	if mail.NewLinks(cfg.HTTP.PublicURL, cfg.Mail.Secret, cfg.Categories) == nil {
		e.add("unsubscribe", Warns, "mails carry no link to unsubscribe, which large receivers want in all but essential ones", "set POSTRIDER_PUBLIC_URL and POSTRIDER_SECRET, the same for all processes")
	}
	if strings.HasSuffix(cfg.Mail.From, "@localhost>") {
		e.add("mail", Warns, "MAIL_FROM is not set: few servers take mail from "+cfg.Mail.From, "set MAIL_FROM to an address of yours")
	}
}

// signing looks at the keys of POSTRIDER_DKIM, and tells whether they can be
// used.
func (e *examination) signing(ctx context.Context, cfg mail.Config) bool {
	keys, err := mail.LoadKeys(cfg.DKIM)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			e.add("dkim", Fails, strings.TrimSpace(line), "correct POSTRIDER_DKIM, or the file")
		}
		return false
	}
	for _, w := range keys.Warnings {
		e.add("dkim", Warns, w, "chmod 600 or 640 the file")
	}
	for _, p := range keys.Check(ctx, net.DefaultResolver) {
		if p.Err != nil {
			e.add("dkim "+p.Name, Warns, p.Err.Error(), "publish the TXT record "+p.Record+": "+p.Want)
			continue
		}
		e.add("dkim "+p.Name, Fine, "its public key is published", "")
	}
	return true
}

func (e *examination) access(ctx context.Context, cfg Config, r Role) {
	if url := cfg.Auth.JWKSURL; r.API && url != "" {
		n := 0
		asker, err := fetch.New(cfg.Fetch)
		if err == nil {
			n, err = auth.CountKeys(ctx, url, asker.Get)
		}
		if err != nil {
			e.add("access", Fails, "users' tokens cannot be checked: "+err.Error(), "correct POSTRIDER_JWKS_URL, or start what answers there")
		} else {
			e.add("access", Fine, fmt.Sprintf("there are keys to check users' tokens with: %d", n), "")
		}
	}
	if r.API && len(cfg.Auth.APIKeys) == 0 {
		e.add("access", Warns, "there are no API keys: everybody on this machine may send", "postrider new-key NAME, into POSTRIDER_API_KEYS")
	}
	if r.API && len(cfg.Auth.DashboardUsers) == 0 {
		e.add("access", Warns, "there are no dashboard users: everybody on this machine is an administrator", "postrider hash-password --name NAME, into POSTRIDER_DASHBOARD_USERS")
	}
}
