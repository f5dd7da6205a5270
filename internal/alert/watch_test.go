package alert_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen soon; a test that works never waits for it.
const patience = time.Minute

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// fleet is numbers that a test sets.
type fleet struct {
	mu      sync.Mutex
	sample  numbers.Sample
	workers []numbers.Worker
	kept    []numbers.Sample
}

func (f *fleet) Current() (numbers.Sample, []numbers.Worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sample, f.workers
}

func (f *fleet) Kept() []numbers.Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept
}

// fine is a fleet with an idle queue and a worker for it.
func fine() *fleet { f := &fleet{}; f.set(0, 1); return f }

// set has the queue email's oldest job wait so long, and so many workers.
func (f *fleet) set(oldest time.Duration, workers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pending := int64(0)
	if oldest > 0 {
		pending = 7
	}
	f.sample = numbers.Sample{Queues: []numbers.Queue{{Name: "email", Pending: pending, OldestMS: oldest.Milliseconds()}}, Workers: &numbers.Workers{}}
	f.workers = slices.Repeat([]numbers.Worker{{Queues: "bulk 10, email 20"}}, workers)
}

// receiver takes what is posted.
type receiver struct {
	*httptest.Server
	t    *testing.T
	mu   sync.Mutex
	down bool
	seen chan struct{} // one for each request
	ids  []string      // of all requests
	told []string      // that were answered with 200
}

func receive(t *testing.T) *receiver {
	r := &receiver{t: t, seen: make(chan struct{}, 1000)}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	text, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.seen <- struct{}{} }()
	id := req.Header.Get("Webhook-Id")
	r.ids = append(r.ids, id)
	if r.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var body struct {
		Text, Type string
		Data       struct{ Rule, Subject, Summary string }
	}
	if err := json.Unmarshal(text, &body); err != nil {
		r.t.Errorf("posted was %s", text)
	}
	if body.Text != "" {
		r.told = append(r.told, body.Text)
		return
	}
	key, _ := webhook.ParseKey(secret)
	stamp, _ := strconv.ParseInt(req.Header.Get("Webhook-Timestamp"), 10, 64)
	if want := key.Headers(id, time.Unix(stamp, 0), text).Get("Webhook-Signature"); req.Header.Get("Webhook-Signature") != want {
		r.t.Errorf("the signature is not good")
	}
	r.told = append(r.told, strings.TrimSpace(body.Type+" "+body.Data.Rule+" "+body.Data.Subject))
}

func (r *receiver) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// want waits until so much was told, and no more.
func (r *receiver) want(told ...string) {
	r.t.Helper()
	for {
		r.mu.Lock()
		got := slices.Clone(r.told)
		r.mu.Unlock()
		if len(got) >= len(told) {
			if !slices.Equal(got, told) {
				r.t.Fatalf("told was %q, want %q", got, told)
			}
			return
		}
		select {
		case <-r.seen:
		case <-time.After(patience):
			r.t.Fatalf("told was %q, want %q", got, told)
		}
	}
}

func openStore(t *testing.T, url string) alert.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url, AutoMigrate: true}, testkit.Logger(t), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Alerts()
}

func sqlite(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "p.db") }

// watch starts a Watch that fires and recovers at once.
func watch(t *testing.T, o alert.Options) (*alert.Watch, *prometheus.Registry) {
	t.Helper()
	asker, err := fetch.New(fetch.Config{})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	if o.Holder == "" {
		o.Holder = "one"
	}
	o.Post, o.Log, o.Metrics = asker.Post, testkit.Logger(t), reg
	o.Config.QueueAge, o.Config.Repeat, o.Config.Failures, o.Config.FailuresMin = alert.Ages{"": time.Minute}, time.Hour, 0.5, 10
	w, err := alert.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.Hurry(20 * time.Millisecond)
	w.Start()
	t.Cleanup(func() { stop(t, w) })
	return w, reg
}

func stop(t *testing.T, w *alert.Watch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestEveryTargetIsTold(t *testing.T) {
	hook, slack, smtp := receive(t), receive(t), testkit.NewSMTP(t)
	sender, err := mail.New(mail.Options{Config: mail.Config{URL: smtp.URL(), From: "Postrider <p@example.com>", Timeout: 20 * time.Second}, Senders: 1, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	f := fine()
	_, reg := watch(t, alert.Options{
		Store: openStore(t, sqlite(t)), Numbers: f, Mail: sender, URL: "https://postrider.example/admin",
		Config: alert.Config{Webhook: hook.URL, Secret: secret, Slack: slack.URL, Mail: alert.Addresses{"ops@example.com", "boss@example.com"}},
	})
	f.set(2*time.Minute, 1)
	hook.want("alert.firing queue_age email")
	slack.want("Queue email: the oldest job has waited 2m0s, more than 1m0s; 7 are waiting.\nhttps://postrider.example/admin")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	mails, err := smtp.Wait(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(mails[0].Data); !strings.Contains(text, "Subject: Postrider: firing: queue age (email)") || !strings.Contains(text, "Auto-Submitted: auto-generated") || !strings.Contains(text, "has waited 2m0s") {
		t.Errorf("the mail is %s", text)
	}
	if got := firing(t, reg); len(got) != len(alert.Rules) || got["queue_age"] != 1 || got["no_workers"] != 0 {
		t.Errorf("the metric tells %v", got)
	}
	f.set(0, 1)
	hook.want("alert.firing queue_age email", "alert.resolved queue_age email")
	if _, err := smtp.Wait(ctx, 4); err != nil {
		t.Fatal(err)
	}
}

// An address that is refused neither keeps a notice from the others nor has them
// told again.
func TestMailAddressesAreTargetsOfTheirOwn(t *testing.T) {
	smtp := testkit.NewSMTP(t)
	smtp.Once(testkit.SMTPAtRcpt, testkit.SMTPReply(250, "2.1.5 ok"), testkit.SMTPReply(450, "4.2.1 not now"))
	sender, err := mail.New(mail.Options{Config: mail.Config{URL: smtp.URL(), From: "Postrider <p@example.com>", Timeout: 20 * time.Second}, Senders: 1, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	f := fine()
	watch(t, alert.Options{
		Store: openStore(t, sqlite(t)), Numbers: f, Mail: sender,
		Config: alert.Config{Mail: alert.Addresses{"ops@example.com", "boss@example.com"}},
	})
	f.set(2*time.Minute, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	mails, err := smtp.Wait(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(mails[0].To) == fmt.Sprint(mails[1].To) {
		t.Errorf("one address was told twice: %v", mails[0].To)
	}
}

// firing is what the metric tells, by rule.
func firing(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "postrider_alert_firing" {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

func TestRules(t *testing.T) {
	hook, s := receive(t), openStore(t, sqlite(t))
	f := fine()
	watch(t, alert.Options{Store: s, Numbers: f, Config: alert.Config{Webhook: hook.URL, Secret: secret}})
	told := []string{}
	want := func(kind, what string) {
		t.Helper()
		told = append(told, "alert."+kind+" "+what)
		hook.want(told...)
	}
	f.set(time.Second, 0)
	want("firing", "no_workers email")
	f.set(time.Second, 1)
	want("resolved", "no_workers email")

	// While Redis is away nothing is said of what only it can tell.
	f.mu.Lock()
	f.sample.Queues, f.sample.Workers, f.workers = nil, nil, nil
	f.mu.Unlock()
	want("firing", "redis_down")
	f.set(0, 1)
	want("resolved", "redis_down")

	rates := func(done, failed int64) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.kept = []numbers.Sample{{Rates: &numbers.Rates{Done: done, Failed: failed / 2}}, {}, {Rates: &numbers.Rates{Failed: failed - failed/2}}}
	}
	rates(0, 9) // all, and too few
	rates(10, 10)
	rates(9, 10)
	want("firing", "failures")
	rates(1000, 10)
	want("resolved", "failures")

	r := alert.NewReporter(s, "worker-1", func() []string { return []string{"ses"} }, testkit.Logger(t))
	r.Hurry(20 * time.Millisecond)
	r.Start()
	want("firing", "provider_down ses")
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("resolved", "provider_down ses")
}

// Two processes tell of each change once, and when one ends the other goes on.
func TestTwoSchedulers(t *testing.T) {
	hook, url := receive(t), testkit.Postgres(t)
	f := fine()
	var both [2]*alert.Watch
	for i := range both {
		both[i], _ = watch(t, alert.Options{
			Store: openStore(t, url), Numbers: f, Holder: fmt.Sprint("scheduler-", i), Config: alert.Config{Webhook: hook.URL, Secret: secret},
		})
	}
	var told []string
	for i := range 10 {
		f.set(2*time.Minute, 1)
		told = append(told, "alert.firing queue_age email")
		hook.want(told...)
		if i == 4 {
			stop(t, both[0])
		}
		f.set(0, 1)
		told = append(told, "alert.resolved queue_age email")
		hook.want(told...)
	}
	stop(t, both[1])
	hook.want(told...)
	slices.Sort(hook.ids)
	if n := len(slices.Compact(slices.Clone(hook.ids))); n != len(told) || len(hook.ids) != len(told) {
		t.Errorf("%d requests with %d ids, for %d notices", len(hook.ids), n, len(told))
	}
}

// A target that is down holds up no other, and gets all in order when it is back,
// also from another process; what is sent again is known by its id.
func TestTargetIsDown(t *testing.T) {
	hook, slack, url := receive(t), receive(t), sqlite(t)
	hook.setDown(true)
	f := fine()
	s := openStore(t, url)
	o := alert.Options{Store: s, Numbers: f, Config: alert.Config{Webhook: hook.URL, Secret: secret, Slack: slack.URL}}
	w, _ := watch(t, o)
	f.set(2*time.Minute, 1)
	const firing, resolved = "Queue email: the oldest job has waited 2m0s, more than 1m0s; 7 are waiting.", "Resolved after 0s. It was: "
	slack.want(firing)
	f.set(0, 1)
	testkit.WaitFor(t, patience, "the recovery to be told", func() bool {
		slack.mu.Lock()
		defer slack.mu.Unlock()
		return len(slack.told) == 2 && strings.HasPrefix(slack.told[1], "Resolved after ") && strings.HasSuffix(slack.told[1], firing)
	})
	select {
	case <-hook.seen:
	case <-time.After(patience):
		t.Fatal("the webhook was not tried")
	}
	stop(t, w)
	hook.setDown(false)
	o.Holder = "another"
	watch(t, o)
	hook.want("alert.firing queue_age email", "alert.resolved queue_age email")
	hook.mu.Lock()
	defer hook.mu.Unlock()
	if first, again := hook.ids[0], hook.ids[len(hook.ids)-2]; first != again {
		t.Errorf("sent again it has the id %s, before %s", again, first)
	}
	slack.mu.Lock()
	defer slack.mu.Unlock()
	if len(slack.told) != 2 {
		t.Errorf("the other target was told %q", slack.told)
	}
}

// A process that ends in the middle of a delivery leaves it to the next.
func TestStopDuringDelivery(t *testing.T) {
	arrived, released := make(chan string, 10), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- r.Header.Get("Webhook-Id")
		select {
		case <-released:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	f := fine()
	o := alert.Options{Store: openStore(t, sqlite(t)), Numbers: f, Config: alert.Config{Webhook: slow.URL, Secret: secret}}
	w, _ := watch(t, o)
	f.set(2*time.Minute, 1)
	id := <-arrived
	stop(t, w)
	close(released)
	o.Holder = "another"
	watch(t, o)
	select {
	case again := <-arrived:
		if again != id {
			t.Errorf("sent again it has the id %s, before %s", again, id)
		}
	case <-time.After(patience):
		t.Fatal("it was not sent again")
	}
}

func TestAttempts(t *testing.T) {
	total := time.Duration(0)
	for n := 1; n < alert.MostAttempts; n++ {
		pause := alert.PauseAfter(n)
		if total += pause; pause < 5*time.Second || pause > 10*time.Minute || n > 1 && pause < alert.PauseAfter(n-1) {
			t.Errorf("after attempt %d it waits %s", n, pause)
		}
	}
	if total < 23*time.Hour || total > 24*time.Hour {
		t.Errorf("it gives up after %s", total)
	}
}

func TestConfig(t *testing.T) {
	good := alert.Config{Failures: 0.2, FailuresMin: 1, Repeat: time.Hour}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		change func(*alert.Config)
		words  string
	}{
		"no url":      {func(c *alert.Config) { c.Webhook, c.Secret = "hook", secret }, "POSTRIDER_ALERT_WEBHOOK must be"},
		"unsigned":    {func(c *alert.Config) { c.Webhook = "https://h.example" }, "needs POSTRIDER_ALERT_WEBHOOK_SECRET"},
		"bad secret":  {func(c *alert.Config) { c.Secret = "whsec_x" }, "POSTRIDER_ALERT_WEBHOOK_SECRET must be whsec_"},
		"slack":       {func(c *alert.Config) { c.Slack = "ftp://x/topsecret" }, "POSTRIDER_ALERT_SLACK"},
		"failures":    {func(c *alert.Config) { c.Failures = 1.5 }, "POSTRIDER_ALERT_FAILURES"},
		"none failed": {func(c *alert.Config) { c.FailuresMin = 0 }, "POSTRIDER_ALERT_FAILURES_MIN"},
		"repeat":      {func(c *alert.Config) { c.Repeat = time.Second }, "POSTRIDER_ALERT_REPEAT"},
	} {
		bad := good
		c.change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var ages alert.Ages
	if err := ages.UnmarshalText([]byte("1m, bulk=1h")); err != nil || ages["bulk"] != time.Hour || ages[""] != time.Minute {
		t.Errorf("the ages are %v: %v", ages, err)
	}
	if text, _ := ages.MarshalText(); string(text) != "1m0s,bulk=1h0m0s" {
		t.Errorf("they are written %s", text)
	}
	for _, text := range []string{"", "bulk=1h", "1m,1m", "0s", "1m,=1h", "x", "1m,bulk=-1s", "1m,bulk=1h,bulk=2h"} {
		if err := ages.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	var to alert.Addresses
	if err := to.UnmarshalText([]byte("a@example.com, b@example.com,")); err != nil || len(to) != 2 {
		t.Errorf("the addresses are %v: %v", to, err)
	}
	for _, text := range []string{"a", "Ann <a@example.com>", strings.Repeat("a@example.com,", 21)} {
		if err := to.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
