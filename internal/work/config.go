package work

import (
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/tasks"
)

// SettleBudget is how long the recording of a run's outcome may take in the
// plan of a shutdown, and of the engine's own limit on a task, which must lie
// above the deadline of its type + POSTRIDER_STOP_GRACE + SettleBudget.
const SettleBudget = 10 * time.Second

// Config says how a worker stops.
type Config struct {
	ShutdownLimit  time.Duration `env:"POSTRIDER_SHUTDOWN_LIMIT" envDefault:"35s" help:"how long a stopping worker lets running jobs go on"`
	StopGrace      time.Duration `env:"POSTRIDER_STOP_GRACE" envDefault:"5s" help:"how long a handler has to return once its job was interrupted"`
	ContainerGrace time.Duration `env:"POSTRIDER_CONTAINER_GRACE" envDefault:"60s" help:"what the platform gives a stopping process before it kills it (terminationGracePeriodSeconds, stop_grace_period, TimeoutStopSec)"`
}

// Validate reports every setting that cannot work, by its variable's name.
func (c Config) Validate() error {
	var errs []error
	for _, s := range []struct {
		name  string
		value time.Duration
	}{
		{"POSTRIDER_SHUTDOWN_LIMIT", c.ShutdownLimit},
		{"POSTRIDER_STOP_GRACE", c.StopGrace},
		{"POSTRIDER_CONTAINER_GRACE", c.ContainerGrace},
	} {
		if s.value <= 0 {
			errs = append(errs, fmt.Errorf("%s must be more than 0, and is %s", s.name, s.value))
		}
	}
	return errors.Join(errs...)
}

// CheckBudget reports every pair of times that do not fit into each other: the
// SMTP conversation into an attempt at email:send, an attempt at each of the
// types into the shutdown, and the shutdown into what the platform gives. A
// job of a type that is not among them may take longer than a shutdown, which
// then interrupts it.
func (c Config) CheckBudget(smtpTimeout time.Duration, types []tasks.Type) error {
	var errs []error
	for _, t := range types {
		if t.Name == tasks.EmailSend.Name && smtpTimeout >= t.Deadline {
			errs = append(errs, fmt.Errorf("POSTRIDER_SMTP_TIMEOUT (%s) must be less than the deadline of %s (%s)",
				smtpTimeout, t.Name, t.Deadline))
		}
		if t.Deadline >= c.ShutdownLimit {
			errs = append(errs, fmt.Errorf("POSTRIDER_SHUTDOWN_LIMIT (%s) must be more than the deadline of %s (%s)",
				c.ShutdownLimit, t.Name, t.Deadline))
		}
	}
	if total := c.ShutdownLimit + c.StopGrace + SettleBudget; total >= c.ContainerGrace {
		errs = append(errs, fmt.Errorf("POSTRIDER_CONTAINER_GRACE (%s) must be more than POSTRIDER_SHUTDOWN_LIMIT (%s) + POSTRIDER_STOP_GRACE (%s) + %s to record outcomes (together %s)",
			c.ContainerGrace, c.ShutdownLimit, c.StopGrace, SettleBudget, total))
	}
	return errors.Join(errs...)
}
