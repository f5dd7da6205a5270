package broker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/postrider/postrider/tasks"
)

// maxConcurrency bounds one queue's handlers in a process.
const maxConcurrency = 10_000

// Config says which Redis to use and which queues there are.
//
// REDIS_URL has one of these forms, user and password percent-encoded; rediss
// instead of redis means TLS, checked by the system's certificates (Go heeds
// SSL_CERT_FILE) unless the query says otherwise: ca=FILE has the server's come
// from that file's authorities, cert=FILE and key=FILE show one of our own,
// server_name=NAME is who the server's is for, min_tls=1.3. The port is 6379 when left out, 26379 for a Sentinel.
//
//	redis://user:password@host:port/db
//	unix://user:password@/path/to/socket?db=N
//	redis+sentinel://user:password@host1,host2/master/db?sentinel_username=…&sentinel_password=…
//	redis+cluster://user:password@host1,host2
//	embedded: (one-process postrider alone: a Redis within the process, in memory)
type Config struct {
	RedisURL string `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0" secret:"true" help:"Redis: redis://user:password@host:port/db, unix:///path, redis+sentinel://host1,host2/master/db or redis+cluster://host1,host2; rediss for TLS, with ?ca=file&cert=file&key=file if need be, see docs/tls.md; embedded: for one within the one-process postrider"`
	Queues   Queues `env:"POSTRIDER_QUEUES" envDefault:"email=20,bulk=10,notification=50,default=10,maintenance=2" help:"the queues, each with how many of its jobs one worker process runs at a time; with 0 it leaves a queue to others"`
	Plain    bool   `env:"POSTRIDER_BROKER_PLAIN" help:"leave out the layer that makes asynq fast and its acknowledgements sure; what is promised of durable jobs holds either way"`
}

// Validate reports what cannot work, by the variable's name and without the
// URL, which may hold a password.
func (c Config) Validate() error {
	var err error
	if !c.Embedded() {
		var a address
		if a, err = parseURL(c.RedisURL); err == nil {
			err = a.useTLS()
		}
	}
	if len(c.Queues) == 0 {
		err = errors.Join(err, errors.New("POSTRIDER_QUEUES must name one queue at least, such as default=10"))
	} else if c.Queues.Concurrency() == 0 {
		err = errors.Join(err, errors.New("POSTRIDER_QUEUES leaves every queue to others: one at least must have more than 0"))
	}
	return err
}

// Embedded reports whether Redis is to be one within the process; its URL is
// then what [Embedded] returns.
func (c Config) Embedded() bool { return c.RedisURL == EmbeddedURL }

// EmbeddedURL as REDIS_URL asks for a Redis within the process.
const EmbeddedURL = "embedded:"

// Queue is one queue and how many of its jobs a worker process runs at a time,
// up to 10,000. With 0 it runs none: it knows the queue, as each process has to
// for the jobs that it makes itself, and leaves it to other workers.
type Queue struct {
	Name        string
	Concurrency int
}

// Queues are the queues there are, in the order in which they were named.
type Queues []Queue

// Names lists the queues' names.
func (q Queues) Names() []string {
	names := make([]string, len(q))
	for i := range q {
		names[i] = q[i].Name
	}
	return names
}

// Concurrency is how many jobs a process runs at a time at most.
func (q Queues) Concurrency() int {
	n := 0
	for i := range q {
		n += q[i].Concurrency
	}
	return n
}

// UnmarshalText reads name=concurrency,… .
func (q *Queues) UnmarshalText(text []byte) error {
	var out Queues
	seen := map[string]bool{}
	for entry := range strings.SplitSeq(string(text), ",") {
		name, number, ok := strings.Cut(strings.TrimSpace(entry), "=")
		name, number = strings.TrimSpace(name), strings.TrimSpace(number)
		n, err := strconv.Atoi(number)
		switch {
		case !ok || name == "":
			return fmt.Errorf("%q is not of the form queue=concurrency", entry)
		case !tasks.ValidQueue(name):
			return fmt.Errorf("%q cannot name a queue: want a lower-case letter and up to 63 letters, digits, - and _", name)
		case err != nil || n < 0 || n > maxConcurrency:
			return fmt.Errorf("queue %s has the concurrency %q: want a whole number from 0 to %d", name, number, maxConcurrency)
		case seen[name]:
			return fmt.Errorf("queue %s is named twice", name)
		}
		seen[name] = true
		out = append(out, Queue{name, n})
	}
	*q = out
	return nil
}
