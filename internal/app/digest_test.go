package app

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// digestFleet is a fleet with two schedulers, and a person who has news gathered.
type digestFleet struct {
	*fleet
	sql     *sql.DB
	windows int // that have ended
}

func startDigestFleet(t *testing.T) *digestFleet {
	f, _ := startFleet(t)
	f.start("scheduler")
	d := &digestFleet{fleet: f, sql: f.db(t)}
	// Far from now, so that a window ends when the test says so.
	far := func(h int) string {
		return time.Now().UTC().Add(time.Duration(h) * time.Hour).Format("15:04")
	}
	body := fmt.Sprintf(`{"address":"ann@example.com","quiet_hours":{"from":%q,"to":%q},"categories":{"news":"digest"},"digest":{"window":"daily","at":%q}}`, far(8), far(9), far(12))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+f.api+"/recipients/42/preferences", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("putting preferences: %s %s, %v", res.Status, text, err)
	}
	return d
}

// gather has mails and notifications gathered, and returns how a digest shows them.
func (d *digestFleet) gather(window string) (titles []string) {
	d.t.Helper()
	var ids []string
	for i := range 3 {
		title := fmt.Sprintf("mail-%s-%d", window, i)
		titles = append(titles, title)
		ids = append(ids, post(d.t, d.api, "/jobs/send-email", fmt.Sprintf(`{"to":"Ann@Example.com","subject":%q,"text":"more","category":"news"}`, title)).ID)
	}
	for i := range 2 {
		title := fmt.Sprintf("note-%s-%d", window, i)
		titles = append(titles, title)
		ids = append(ids, post(d.t, d.api, "/jobs/send-notification", fmt.Sprintf(`{"receiverId":"42","message":%q,"category":"news"}`, title)).ID)
	}
	for _, id := range ids {
		var v struct{ State, Message string }
		testkit.WaitFor(d.t, time.Minute, "job "+id+" to be gathered", func() bool {
			get(d.t, d.api, "/jobs/"+id, &v)
			return v.State == "done"
		})
		if !strings.HasPrefix(v.Message, "gathered for the daily digest") {
			d.t.Errorf("a job ended with %q", v.Message)
		}
	}
	return titles
}

// endWindow has the window that gathers have ended, as if its time were over.
func (d *digestFleet) endWindow() {
	d.t.Helper()
	tx, err := d.sql.BeginTx(d.t.Context(), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	d.windows++
	end := time.Now().Add(-time.Hour).UnixMilli() + int64(d.windows) // another than those before
	for _, q := range []string{
		`UPDATE digest_items i SET ends_at = $1 FROM digests d WHERE d.recipient = '42' AND d.closed_at IS NULL AND i.recipient = d.recipient AND i.ends_at = d.ends_at`,
		`UPDATE digests SET ends_at = $1 WHERE recipient = '42' AND closed_at IS NULL`,
	} {
		if _, err := tx.ExecContext(d.t.Context(), q, end); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		d.t.Fatal(err)
	}
}

// kill ends all processes of a program as kill -9 does, and startAgain starts as
// many.
func (d *digestFleet) kill(name string) {
	for _, s := range d.services[name] {
		s.Kill()
	}
}

func (d *digestFleet) startAgain(name string) {
	d.t.Helper()
	killed := len(d.services[name])
	d.services[name] = nil
	for range killed {
		d.start(name)
	}
}

// arrived waits for a window's digest, which must have all that was gathered.
func (d *digestFleet) arrived(titles []string) {
	d.t.Helper()
	var digest string
	testkit.WaitFor(d.t, 2*time.Minute, "the digest with "+titles[0], func() bool {
		for _, m := range d.smtp.Mails() {
			if strings.Contains(string(m.Data), titles[0]) {
				digest = string(m.Data)
			}
		}
		return digest != ""
	})
	for _, title := range titles {
		if !strings.Contains(digest, title) {
			d.t.Errorf("the digest lacks %s:\n%s", title, digest)
		}
	}
}

// TestDigestFromTheAPI goes the whole way from preferences to a digest, with real
// processes, of which some are killed on the way: each window has one mail.
func TestDigestFromTheAPI(t *testing.T) {
	d := startDigestFleet(t)

	titles := d.gather("quiet")
	d.endWindow()
	d.arrived(titles)

	titles = d.gather("killed-before")
	d.kill("scheduler")
	d.kill("worker")
	d.endWindow()
	d.startAgain("scheduler")
	d.startAgain("worker")
	d.arrived(titles)

	// In the middle of the transaction that closes the window and accepts its mail.
	titles = d.gather("killed-amid")
	release := d.holdClosing()
	d.endWindow()
	d.waitFor("a scheduler to close the window", `SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)
	d.kill("scheduler")
	release()
	d.startAgain("scheduler")
	d.arrived(titles)

	// After it, before Redis has heard of the mail.
	titles = d.gather("killed-behind")
	d.redis.Pause()
	d.endWindow()
	d.waitFor("the window to be closed", fmt.Sprintf(`SELECT count(*) = %d FROM digests WHERE closed_at IS NOT NULL`, d.windows))
	d.kill("scheduler")
	d.redis.Resume()
	d.startAgain("scheduler")
	d.arrived(titles)

	// By now each scheduler has looked many times for what is due.
	d.waitFor("the digests to be over", fmt.Sprintf(`SELECT count(*) = %d FROM jobs WHERE accepted_by = 'digest:' AND state = 'done'`, d.windows))
	ids := map[string]bool{}
	for _, m := range d.smtp.Mails() {
		ids[m.MessageID] = true
	}
	if len(ids) != d.windows || len(d.smtp.Mails()) != d.windows {
		t.Errorf("%d windows made %d mails, %d different", d.windows, len(d.smtp.Mails()), len(ids))
	}
	var made, windows, items int
	if err := d.sql.QueryRow(`SELECT (SELECT count(*) FROM jobs WHERE accepted_by = 'digest:'), (SELECT count(DISTINCT job_id) FROM digests), (SELECT count(*) FROM digest_items)`).Scan(&made, &windows, &items); err != nil {
		t.Fatal(err)
	}
	if made != d.windows || windows != d.windows || items != 5*d.windows {
		t.Errorf("%d windows have %d jobs of %d digests with %d items", d.windows, made, windows, items)
	}
}

// holdClosing has the statement that closes a window wait, until release.
func (d *digestFleet) holdClosing() (release func()) {
	d.t.Helper()
	for _, q := range []string{
		`CREATE FUNCTION hold_closing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$`,
		`CREATE TRIGGER hold_closing BEFORE UPDATE ON digests FOR EACH ROW WHEN (NEW.closed_at IS NOT NULL) EXECUTE FUNCTION hold_closing()`,
	} {
		if _, err := d.sql.ExecContext(d.t.Context(), q); err != nil {
			d.t.Fatal(err)
		}
	}
	conn, err := d.sql.Conn(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := conn.ExecContext(d.t.Context(), `SELECT pg_advisory_lock(42)`); err != nil {
		d.t.Fatal(err)
	}
	return func() {
		d.t.Helper()
		if _, err := conn.ExecContext(d.t.Context(), `SELECT pg_advisory_unlock(42)`); err != nil {
			d.t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			d.t.Fatal(err)
		}
		if _, err := d.sql.ExecContext(d.t.Context(), `DROP TRIGGER hold_closing ON digests`); err != nil {
			d.t.Fatal(err)
		}
	}
}
