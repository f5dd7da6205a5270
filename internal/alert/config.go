package alert

import (
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/webhook"
)

// Config is who is told, and of what. Nobody is told of anything while there is no
// target.
type Config struct {
	Webhook string    `env:"POSTRIDER_ALERT_WEBHOOK" secret:"true" help:"where alerts are posted as JSON, signed; see docs/alerts.md"`
	Secret  string    `env:"POSTRIDER_ALERT_WEBHOOK_SECRET" secret:"true" help:"what they are signed with, as Standard Webhooks wants it: whsec_ and the base64 of 24 to 64 bytes"`
	Slack   string    `env:"POSTRIDER_ALERT_SLACK" secret:"true" help:"an incoming webhook of Slack, or of what takes the same {\"text\": …}, that alerts are posted to"`
	Mail    Addresses `env:"POSTRIDER_ALERT_MAIL" help:"mail addresses with commas between that alerts go to, from the schedulers and past all queues; they need SMTP_URL too"`

	QueueAge    Ages          `env:"POSTRIDER_ALERT_QUEUE_AGE" envDefault:"1m,bulk=1h,maintenance=1h" help:"how long a queue's oldest job may wait: a time for all queues, and queue=time for some"`
	Failures    float64       `env:"POSTRIDER_ALERT_FAILURES" envDefault:"0.2" help:"the share of the jobs that ended in the last five minutes that may have failed for good"`
	FailuresMin int64         `env:"POSTRIDER_ALERT_FAILURES_MIN" envDefault:"20" help:"how many must have failed for that share to count"`
	Pending     time.Duration `env:"POSTRIDER_ALERT_PENDING" envDefault:"1m" help:"how long a condition must last before it is told of"`
	Hold        time.Duration `env:"POSTRIDER_ALERT_HOLD" envDefault:"5m" help:"how long it must be gone before that is told"`
	Repeat      time.Duration `env:"POSTRIDER_ALERT_REPEAT" envDefault:"4h" help:"how often it is told again while it lasts"`
}

// The targets, as metrics name them.
const (
	TargetWebhook = "webhook"
	TargetSlack   = "slack"
	TargetMail    = "mail"
)

// Targets are those that are set, as notices name them. Each mail address is one:
// what goes wrong with it is not the others' affair.
func (c Config) Targets() (out []string) {
	for name, set := range map[string]bool{TargetWebhook: c.Webhook != "", TargetSlack: c.Slack != ""} {
		if set {
			out = append(out, name)
		}
	}
	for i := range c.Mail {
		out = append(out, mailTarget(i))
	}
	slices.Sort(out)
	return out
}

// mailTarget names a mail address by its place: addresses are no names for logs.
func mailTarget(i int) string {
	if i == 0 {
		return TargetMail
	}
	return TargetMail + "-" + strconv.Itoa(i+1)
}

// metricTarget is what metrics call a target.
func metricTarget(name string) string {
	kind, _, _ := strings.Cut(name, "-")
	return kind
}

// Validate reports every setting that cannot work, by its variable's name.
func (c Config) Validate() error {
	var errs []error
	for name, raw := range map[string]string{"POSTRIDER_ALERT_WEBHOOK": c.Webhook, "POSTRIDER_ALERT_SLACK": c.Slack} {
		u, err := url.Parse(raw)
		if raw != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			errs = append(errs, fmt.Errorf("%s must be an http or https URL", name)) // its own words could show a secret
		}
	}
	_, err := webhook.ParseKey(c.Secret)
	switch {
	case c.Secret != "" && err != nil:
		errs = append(errs, fmt.Errorf("POSTRIDER_ALERT_WEBHOOK_SECRET %w", err))
	case c.Webhook != "" && c.Secret == "":
		errs = append(errs, errors.New("POSTRIDER_ALERT_WEBHOOK needs POSTRIDER_ALERT_WEBHOOK_SECRET: who is told must know who tells"))
	}
	if c.Failures <= 0 || c.Failures > 1 {
		errs = append(errs, errors.New("POSTRIDER_ALERT_FAILURES must be above 0 and at most 1"))
	}
	if c.FailuresMin < 1 {
		errs = append(errs, errors.New("POSTRIDER_ALERT_FAILURES_MIN must be 1 at least"))
	}
	if c.Pending < 0 || c.Hold < 0 || c.Repeat < time.Minute {
		errs = append(errs, errors.New("POSTRIDER_ALERT_PENDING and POSTRIDER_ALERT_HOLD must not be negative, and POSTRIDER_ALERT_REPEAT must be a minute at least"))
	}
	return errors.Join(errs...)
}

// Ages are how long jobs may wait, by queue; "" is for those that are not named.
type Ages map[string]time.Duration

// UnmarshalText reads 1m,bulk=1h.
func (a *Ages) UnmarshalText(text []byte) error {
	out := Ages{}
	for part := range strings.SplitSeq(string(text), ",") {
		queue, age, named := strings.Cut(strings.TrimSpace(part), "=")
		if !named {
			queue, age = "", queue
		}
		d, err := time.ParseDuration(age)
		if _, twice := out[queue]; err != nil || d <= 0 || twice || named && queue == "" {
			return fmt.Errorf("%q is not a time, or queue=time, of its own", part)
		}
		out[queue] = d
	}
	if out[""] == 0 {
		return errors.New("there is no time for the queues that are not named")
	}
	*a = out
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (a Ages) MarshalText() ([]byte, error) {
	var parts []string
	for _, queue := range slices.Sorted(maps.Keys(a)) { // "" first
		part := a[queue].String()
		if queue != "" {
			part = queue + "=" + part
		}
		parts = append(parts, part)
	}
	return []byte(strings.Join(parts, ",")), nil
}

// of is a queue's.
func (a Ages) of(queue string) time.Duration {
	if age, named := a[queue]; named {
		return age
	}
	return a[""]
}

// Addresses are bare mail addresses.
type Addresses []string

// maxAddresses bounds how many are told.
const maxAddresses = 20

// UnmarshalText reads addresses with commas between.
func (a *Addresses) UnmarshalText(text []byte) error {
	var out Addresses
	for part := range strings.SplitSeq(string(text), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		parsed, err := mail.ParseAddress(part)
		if err != nil || parsed.Address != part {
			return errors.New("one of them is not a mail address")
		}
		out = append(out, part)
	}
	if len(out) > maxAddresses {
		return fmt.Errorf("there are more than %d", maxAddresses)
	}
	*a = out
	return nil
}
