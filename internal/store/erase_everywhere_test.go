package store_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/quotedprintable"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/tasks"
)

const erasedAddress = "Ann.Lee+news@Example.com"

// ways are how an address stands in texts.
var ways = map[string]string{
	"plain":            "<" + erasedAddress + ">",
	"in a query":       "/x?to=" + url.QueryEscape(erasedAddress) + "&y",
	"in a path":        "/x/" + url.PathEscape(erasedAddress) + "/y",
	"quoted-printable": "Ann.L=\r\nee+news=40Example.com",
	"the same in JSON": `Ann.Lee+n=\r\news@Example.com`,
	"a return path":    "bounce+1a2b-ann.lee+news=example.com@list.example",
	"JSON":             `"Ann.Lee+news\u0040Example.com"`,
	"base64":           base64.StdEncoding.EncodeToString([]byte("To: <" + erasedAddress + ">")),
	"base64, by one":   base64.StdEncoding.EncodeToString([]byte("To:  <" + erasedAddress + ">, more")),
	"base64, by two":   base64.RawURLEncoding.EncodeToString([]byte("To: ü <" + strings.ToUpper(erasedAddress) + ">?>")),
	"base64 in lines":  "QW5u\r\n" + strings.Join(inPieces(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("- ", 15)+erasedAddress)), 20), "\r\n"),
}

func inPieces(s string, n int) (out []string) {
	for piece := range slices.Chunk([]byte(s), n) {
		out = append(out, string(piece))
	}
	return out
}

// mustBe are the columns that cannot have any text.
var mustBe = map[string]string{
	"jobs.state": "done", "feedback.kind": "bounced", "suppressions.reason": "manual",
	"schedules.missed": "skip", "schedules.overlap": "skip", "schedules.source": "api",
	"schedules.payload": `{"text":%s}`, "preferences.settings": `{"time_zone":%s}`,
}

// idColumn are the columns of ids, which are texts to SQLite.
var idColumn = regexp.MustCompile(`^((jobs|notifications)\.id|.*\.(.*_id|batch|base|last_job))$`)

// columnsOf lists a database's columns as table → column → type, without those
// that the database fills in.
func columnsOf(t *testing.T, dbURL string) map[string]map[string]string {
	t.Helper()
	q := `SELECT m.name, p.name, lower(p.type) FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND NOT (lower(p.type) = 'integer' AND p.pk = 1)`
	if !strings.HasPrefix(dbURL, "sqlite:") {
		q = `SELECT table_name, column_name, data_type FROM information_schema.columns
			WHERE table_schema = current_schema() AND is_identity = 'NO'`
	}
	rows, err := raw(t, dbURL).QueryContext(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	out := map[string]map[string]string{}
	for rows.Next() {
		var table, column, kind string
		if err := rows.Scan(&table, &column, &kind); err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]string{"goose_db_version", "secrets", "audit", "audit_horizon", "api_keys"}, table) { // see TestAuditAndErasure; keys are operators'
			continue
		}
		if out[table] == nil {
			out[table] = map[string]string{}
		}
		out[table][column] = kind
	}
	if err := rows.Err(); err != nil || len(out) < 8 {
		t.Fatalf("found the tables %v: %v", slices.Collect(maps.Keys(out)), err)
	}
	return out
}

// plantEverywhere writes the address into every text of every table, in every
// way.
func plantEverywhere(t *testing.T, dbURL string) {
	t.Helper()
	db := raw(t, dbURL)
	n := 0
	for table, kinds := range columnsOf(t, dbURL) {
		for _, way := range slices.Sorted(maps.Keys(ways)) {
			var names, marks []string
			var row []any
			for column, kind := range kinds {
				n++
				var value any
				fixed, is := mustBe[table+"."+column]
				switch {
				case is && strings.Contains(fixed, "%s"):
					text, err := json.Marshal(ways[way])
					if err != nil {
						t.Fatal(err)
					}
					value = fmt.Sprintf(fixed, text)
				case is:
					value = fixed
				case kind == "uuid" || idColumn.MatchString(table+"."+column):
					value = string(job.NewID())
				case kind == "text":
					value = fmt.Sprintf("%d: %s", n, ways[way])
				case kind == "boolean":
					value = false
				case kind == "bytea" || kind == "blob":
					// Another's file, or a hash: see TestEraseEverywhere.
					value = []byte("bytes")
				default:
					value = n
				}
				names, row = append(names, column), append(row, value)
				marks = append(marks, "$"+strconv.Itoa(len(row)))
			}
			q := "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")"
			if _, err := db.ExecContext(t.Context(), q, row...); err != nil {
				t.Fatalf("%s takes no address in all of its texts; name what it takes in mustBe: %v", table, err)
			}
		}
	}
}

var base64ish = regexp.MustCompile(`[A-Za-z0-9+/_-]{12,}`)

// betrays reports whether a text gives the address away to who decodes it.
func betrays(text string, deep int) bool {
	low := strings.ToLower(text)
	address := strings.ToLower(erasedAddress)
	readings := []string{low}
	if plain, err := url.PathUnescape(low); err == nil {
		readings = append(readings, plain)
	}
	broken := strings.NewReplacer(`\r\n`, "\r\n", `\n`, "\n", `\u0040`, "@").Replace(low)
	if plain, _ := io.ReadAll(quotedprintable.NewReader(strings.NewReader(broken))); len(plain) > 0 {
		readings = append(readings, string(plain))
	}
	local, domain, _ := strings.Cut(address, "@")
	for _, r := range append(readings, broken) {
		for _, sign := range []string{"@", "=", "%40"} {
			if strings.Contains(r, local+sign+domain) {
				return true
			}
		}
	}
	if deep == 0 {
		return false
	}
	joined := strings.NewReplacer("\r\n", "", `\r\n`, "").Replace(text)
	for _, t := range []string{text, joined} {
		for _, run := range base64ish.FindAllString(t, -1) {
			run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
			for skip := range 4 {
				piece := run[skip:]
				piece = piece[:len(piece)/4*4]
				if plain, err := base64.RawStdEncoding.DecodeString(piece); err == nil && betrays(string(plain), deep-1) {
					return true
				}
			}
		}
	}
	return false
}

// TestEraseEverywhere plants an address in every text of the schema, in every way
// that it may be written, and finds it nowhere after the person's erasure. A table
// that is new is planted too.
func TestEraseEverywhere(t *testing.T) {
	for name, text := range ways {
		if !betrays(text, 3) {
			t.Fatalf("the test does not see the address %s", name)
		}
	}
	onEach(t, func(t *testing.T, dbURL string) {
		m := newMailroom(t, dbURL)
		ctx := t.Context()
		low := strings.ToLower(erasedAddress)
		plantEverywhere(t, dbURL)
		var blobs []string
		for table, kinds := range columnsOf(t, dbURL) {
			for column, kind := range kinds {
				if kind == "bytea" || kind == "blob" {
					blobs = append(blobs, table+"."+column)
				}
			}
		}
		if slices.Sort(blobs); !slices.Equal(blobs, []string{"file_chunks.data", "idempotency_keys.hash"}) {
			t.Errorf("the columns of bytes are %v: say what an erasure does with a new one", blobs)
		}

		// A file of hers alone, and one of hers and others'.
		own := attach.File{ID: strings.Repeat("a", 64), Size: 5, ContentType: "text/plain", Owner: "shop"}
		shared := attach.File{ID: strings.Repeat("b", 64), Size: 5, ContentType: "text/plain", Owner: "shop"}
		hers, his := m.put(low, tasks.Description{Subject: "To " + erasedAddress}), m.put("bob@example.com", tasks.Description{})
		for _, f := range []struct {
			file    attach.File
			content string
			by      []job.ID
		}{{own, "Dear " + erasedAddress, []job.ID{hers}}, {shared, "Dear all", []job.ID{hers, his}}} {
			if err := m.Files().PutFile(ctx, f.file, []byte(f.content), f.by[0]); err != nil {
				t.Fatal(err)
			}
			for _, by := range f.by {
				if _, err := m.Files().UseFiles(ctx, []attach.Use{{Job: by, File: f.file.ID}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.end(hers, job.PermanentFailure("550 <%s> unknown", erasedAddress))

		// Feedback as it came: a report within a job's payload, its parts encoded.
		report := "To: bounce+1a2b-ann.lee+news=example.com@list.example\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			strings.Join(inPieces(base64.StdEncoding.EncodeToString([]byte("Final-Recipient: rfc822; "+erasedAddress+"\r\n")), 76), "\r\n") +
			"\r\n\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nDear Ann.Lee+news=40Exam=\r\nple.com"
		payload, err := json.Marshal(tasks.Feedback{Provider: tasks.FeedbackMessage, Message: []byte(report), Rcpt: erasedAddress})
		if err != nil {
			t.Fatal(err)
		}
		asFeedback := func(n *job.New) {
			n.Type, n.Queue, n.Payload = tasks.FeedbackReceive.Name, tasks.FeedbackReceive.Queue, payload
		}
		m.end(m.put("", tasks.Description{}, asFeedback), job.Succeeded("message: 1 events"))
		unread := m.put("", tasks.Description{}, asFeedback)

		if err := m.Suppressions().Suppress(ctx, mail.Suppression{Address: low, Reason: mail.Complaint, Note: "from " + erasedAddress}); err != nil {
			t.Fatal(err)
		}
		_, err = m.Recipients().Change(ctx, "42", func(_ *recipient.Preferences, now time.Time) (*recipient.Preferences, error) {
			return &recipient.Preferences{ID: "42", Address: low, Version: 1, UpdatedAt: now, Settings: recipient.Settings{
				Categories: map[string]recipient.Choice{"offers": recipient.Off, "news": recipient.Digest},
			}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}

		p, err := delivery.PersonOf(erasedAddress, "")
		if err != nil {
			t.Fatal(err)
		}
		s := delivery.New(delivery.Options{Store: m.Store, Jobs: canceller{m.Store}, Suppressions: m.Suppressions()})
		// What is not read yet may be why she is to get no mail.
		waits, err := s.Erase(ctx, p, "admin", "")
		if err != nil || !strings.HasPrefix(waits.Next, "feedback ") || waits.Jobs > 0 {
			t.Fatalf("with feedback that is not read the first call did %+v: %v", waits, err)
		}
		if err := m.Feedback().Record(ctx, mail.Feedback{Provider: "message", Event: "1", Kind: mail.Bounced, Permanent: true, Suppress: mail.Bounce, Job: string(hers), At: time.Now(), Message: "550 " + erasedAddress}); err != nil {
			t.Fatal(err)
		}
		m.end(unread, job.Succeeded("message: 1 events"))
		m.clock.Advance(time.Second)
		unread = m.put("", tasks.Description{}, asFeedback) // it goes on coming
		next := waits.Next
		for !strings.Contains(next, `"jobs"`) {
			got, err := s.Erase(ctx, p, "admin", next)
			if err != nil || got.Next == "" {
				t.Fatalf("the next call did %+v: %v", got, err)
			}
			next = got.Next
		}
		if got, err := s.Erase(ctx, p, "admin", next); err != nil || got.Next != next || got.Texts != 0 {
			t.Errorf("where feedback names her that is not read, a call did %+v: %v", got, err)
		}
		m.end(unread, job.Succeeded("message: 1 events"))
		eraseAll(t, s, p, next)

		for _, line := range dump(t, dbURL) {
			if betrays(line, 4) {
				t.Errorf("it is still there: %.500q", line)
			}
		}
		if _, err := m.Files().ReadFile(ctx, own); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("her file is still there: %v", err)
		}
		if content, err := m.Files().ReadFile(ctx, shared); err != nil || string(content) != "Dear all" {
			t.Errorf("a file of others too is %q: %v", content, err)
		}
		found, err := m.Suppressions().Find(ctx, low)
		if err != nil {
			t.Fatal(err)
		}
		var reasons []string
		for _, s := range found {
			reasons = append(reasons, string(s.Reason)+" "+s.Category)
		}
		if slices.Sort(reasons); !slices.Equal(reasons, []string{"bounce ", "complaint ", "unsubscribe offers"}) {
			t.Errorf("she is suppressed for %q", reasons)
		}

		// What comes in later does not bring the address back, nor do two erasures
		// stand in each other's way.
		if err := m.Suppressions().Suppress(ctx, mail.Suppression{Address: low, Reason: mail.Manual, Note: erasedAddress}, mail.Suppression{Address: low, Reason: mail.Complaint}); err != nil {
			t.Fatal(err)
		}
		for _, line := range dump(t, dbURL) {
			if betrays(line, 0) {
				t.Errorf("it is there again: %.500q", line)
			}
		}
		if again, err := s.Erase(ctx, p, "admin", ""); err != nil || again != (delivery.Erasure{}) {
			t.Errorf("a second erasure did %+v: %v", again, err)
		}
		if gone, err := m.Suppressions().Unsuppress(ctx, mail.SuppressionFilter{Address: low}); err != nil || len(gone) != 4 {
			t.Errorf("taken off the list were %+v: %v", gone, err)
		}
	})
}

// eraseAll erases to the end, from a place on.
func eraseAll(t *testing.T, s *delivery.Service, p delivery.Person, from string) {
	t.Helper()
	for calls := 0; calls == 0 || from != ""; calls++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		got, err := s.Erase(ctx, p, "admin", from)
		cancel()
		if err != nil || calls > 100 {
			t.Fatalf("call %d did %+v: %v", calls, got, err)
		}
		from = got.Next
	}
}

// TestEraseSchedules keeps a schedule that is for others too.
func TestEraseSchedules(t *testing.T) {
	onEach(t, func(t *testing.T, dbURL string) {
		m := newMailroom(t, dbURL)
		db := raw(t, dbURL)
		for name, c := range map[string]struct{ payload, want string }{
			"hers":         {`{"rcpt":"Ann@Example.com","to":["Ann <ann@example.com>"],"subject":"Hi"}`, ""},
			"his, to both": {`{"rcpt":"bob@example.com","to":["Ann <ann@example.com>","bob@example.com"],"text":"as Ann@Example.com said"}`, `{"rcpt":"bob@example.com","text":"as erased@erased.invalid said","to":["bob@example.com"]}`},
			"his copy":     {`{"rcpt":"bob@example.com","to":["ann@example.com"],"cc":["bob@example.com"]}`, `{"cc":["bob@example.com"],"rcpt":"bob@example.com","to":["bob@example.com"]}`},
			"her copy":     {`{"rcpt":"bob@example.com","to":["bob@example.com"],"cc":["ann@example.com"],"reply_to":"Ann <ann@example.com>"}`, `{"rcpt":"bob@example.com","to":["bob@example.com"]}`},
			"a report":     {`{"people":[{"mail":"ann@example.com","n":1},{"mail":"bob@example.com","n":12345678901234567890}],"data":{"by":"ann@example.com"}}`, `{"data":{"by":"erased@erased.invalid"},"people":[{"mail":"bob@example.com","n":12345678901234567890}]}`},
			"hers alone":   {`{"people":["ann@example.com"]}`, ""},
			"joann's":      {`{"rcpt":"joann@example.com","to":["joann@example.com"]}`, `{"rcpt":"joann@example.com","to":["joann@example.com"]}`},
			"to a user":    {`{"receiverId":"ann@example.com","message":"Hi"}`, ""},
		} {
			if _, err := db.ExecContext(t.Context(), "DELETE FROM schedules"); err != nil {
				t.Fatal(err)
			}
			_, err := db.ExecContext(t.Context(), `
				INSERT INTO schedules (name, type, payload, queue, cron, time_zone, missed, missed_limit, overlap, paused, source, created_at, updated_at)
				VALUES ('s', 'email:send', $1, 'email', '@daily', 'UTC', 'skip', 1, 'skip', false, 'api', 1, 1)`, c.payload)
			if err != nil {
				t.Fatal(err)
			}
			p, err := delivery.PersonOf("ann@example.com", "")
			if err != nil {
				t.Fatal(err)
			}
			eraseAll(t, delivery.New(delivery.Options{Store: m.Store, Jobs: canceller{m.Store}, Suppressions: m.Suppressions()}), p, "")
			var left []string
			for _, row := range query(t, db, "SELECT payload FROM schedules") {
				left = append(left, strings.TrimSpace(row))
			}
			if got := strings.Join(left, ""); got != c.want {
				t.Errorf("%s becomes %s", name, got)
			}
		}
	})
}
