package dashboard

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/mail"
)

// suppress puts entries on the list.
func (m *mailRig) suppress(all ...mail.Suppression) {
	m.t.Helper()
	if err := m.store.Suppressions().Suppress(m.t.Context(), all...); err != nil {
		m.t.Fatal(err)
	}
}

// listed is the whole list in short, the newest first.
func (m *mailRig) listed() (out []string) {
	m.t.Helper()
	all, err := m.store.Suppressions().List(m.t.Context(), mail.SuppressionFilter{Limit: 1000})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, s := range all {
		out = append(out, strings.Join([]string{s.Address, s.Category, string(s.Reason), s.Note, s.Actor}, "|"))
	}
	return out
}

func (m *mailRig) wantListed(want ...string) {
	m.t.Helper()
	if got := m.listed(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		m.t.Errorf("the list is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSuppressionsPage(t *testing.T) {
	m := newMailRig(t)
	ann, bob := m.as("ann"), m.as("bob")
	ann.get(suppressionRoot).want(t, http.StatusOK, "No entry.")
	id := m.put("gone@example.com", "Hello", "", 0)
	m.suppress(mail.Suppression{Address: "gone@example.com", Reason: mail.Bounce, Note: "550 5.1.1 <gone@example.com> unknown", Job: string(id)})
	m.suppress(mail.Suppression{Address: "reader@example.com", Category: "news", Reason: mail.Unsubscribe})
	m.suppress(mail.Suppression{Address: "reader@example.com", Reason: mail.Manual, Actor: "shop"})

	list := ann.get(suppressionRoot).want(t, http.StatusOK, "gone@example.com", "reader@example.com", "550 5.1.1 &lt;gone@example.com&gt; unknown", "by shop",
		"/admin/deliveries/"+string(id), "Add an address", "Import a list", "Export as CSV", `aria-current="page">Suppressions</a>`)
	if strings.Index(list.body, "gone@") < strings.Index(list.body, "reader@") {
		t.Error("the newest is not first")
	}
	for query, c := range map[string]struct{ has, lacks string }{
		"?q=Gone@Example.com":                   {"gone@", "reader@"},
		"?reason=bounce":                        {"gone@", "reader@"},
		"?category=news":                        {"reader@", "gone@"},
		"?category=*&reason=manual":             {"by shop", "gone@"},
		"?q=nobody@example.com":                 {"No entry for “nobody@example.com”", "gone@"},
		"?category=offers&reason=unsubscribe":   {"No entry of offers with the reason unsubscribe", "reader@"},
		"?reason=bounce&q=reader%40example.com": {"No entry", "gone@"},
	} {
		ann.get(suppressionRoot+query).want(t, http.StatusOK, c.has).lacks(t, c.lacks)
	}
	ann.get(suppressionRoot+"?q=gone").want(t, http.StatusUnprocessableEntity, "whole addresses")
	ann.get(suppressionRoot+"?before=0").want(t, http.StatusUnprocessableEntity)
	ann.get(deliveryPath(id)).want(t, http.StatusOK, `href="/admin/suppressions?q=gone%40example.com"`)

	// A viewer sees no addresses, and neither acts nor exports.
	bob.get(suppressionRoot+"?q=gone@example.com").want(t, http.StatusOK, "g***@example.com").lacks(t, ">gone@", "reader@")
	for _, path := range []string{suppressionRoot, deliveryPath(id)} {
		bob.get(path).want(t, http.StatusOK, "g***@example.com").lacks(t, ">gone@", "&lt;gone@", "reader@", "Add an address", "Import", "Remove", "Export", "suppressions?q=gone")
	}
	bob.get(suppressionRoot+".csv").want(t, http.StatusForbidden)
	for _, command := range []string{"add", "remove", "preview", "import"} {
		bob.post(suppressionRoot+"/"+command, url.Values{"address": {"x@example.com"}}).want(t, http.StatusForbidden)
		m.anonymous().post(suppressionRoot+"/"+command, nil).want(t, http.StatusUnauthorized)
		ann.post(suppressionRoot+"/"+command, nil, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }).want(t, http.StatusForbidden)
	}
	ann.post(suppressionRoot+"/dance", nil).want(t, http.StatusNotFound)
	if n := len(m.listed()); n != 3 {
		t.Errorf("%d entries are left", n)
	}
}

func TestSuppressionsPages(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	const n = 2*suppressionsPerPage + 7
	var all []mail.Suppression
	for i := range n {
		all = append(all, mail.Suppression{Address: fmt.Sprintf("u%03d@example.com", i), Reason: mail.Unsubscribe})
	}
	m.suppress(all...)
	m.suppress(mail.Suppression{Address: "other@example.com", Reason: mail.Manual})
	row := regexp.MustCompile(`type="checkbox"`)
	older := regexp.MustCompile(`class="older" href="([^"]+)"`)
	seen, path := 0, suppressionRoot+"?reason=unsubscribe"
	for range 3 {
		page := ann.get(path).want(t, http.StatusOK)
		seen += len(row.FindAllString(page.body, -1))
		next := older.FindStringSubmatch(page.body)
		if next == nil {
			break
		}
		path = strings.ReplaceAll(next[1], "&amp;", "&")
	}
	if seen != n {
		t.Errorf("the pages have %d entries, want %d", seen, n)
	}
}

func TestAddSuppression(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	add := func(address, category, reason, note string) reply {
		return ann.post(suppressionRoot+"/add", url.Values{"address": {address}, "category": {category}, "reason": {reason}, "note": {note}})
	}
	next := add(" Reader@Example.com ", "", "manual", "by phone").want(t, http.StatusSeeOther).header.Get("Location")
	if next != suppressionRoot+"?added=1" {
		t.Errorf("it leads to %s", next)
	}
	ann.get(next).want(t, http.StatusOK, "Added: 1.", "reader@example.com")
	add("reader@example.com", "news", "unsubscribe", "").want(t, http.StatusSeeOther)
	m.wantListed("reader@example.com|news|unsubscribe||dashboard:ann", "reader@example.com||manual|by phone|dashboard:ann")

	add("nobody", "", "manual", "kept").want(t, http.StatusUnprocessableEntity, "not a mail address", `value="nobody"`, `value="kept"`, "<details open>")
	add("a@example.com", "news", "bounce", "").want(t, http.StatusUnprocessableEntity, "for all categories")
	add("a@example.com", "No Such", "manual", "").want(t, http.StatusUnprocessableEntity, "the category must be")
	add("a@example.com", "", "boredom", "").want(t, http.StatusUnprocessableEntity, "the reason must be")
	if n := len(m.listed()); n != 2 {
		t.Errorf("%d entries are there", n)
	}
	if lines := m.log.String(); !strings.Contains(lines, "command=added") || !strings.Contains(lines, "user=ann") || strings.Contains(lines, "reader@") {
		t.Errorf("the log says %s", lines)
	}
}

func TestRemoveSuppressions(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	entry := func(address, category string, reason mail.Reason) mail.Suppression {
		return mail.Suppression{Address: address, Category: category, Reason: reason}
	}
	odd := entry(`"a b"@example.com`, "", mail.Manual)
	all := []mail.Suppression{
		entry("a@example.com", "", mail.Unsubscribe), entry("a@example.com", "news", mail.Unsubscribe), entry("a@example.com", "", mail.Bounce),
		entry("b@example.com", "", mail.Manual), odd,
	}
	for _, s := range all {
		m.suppress(s)
	}
	remove := func(back string, form url.Values) reply {
		form.Set("back", back)
		return ann.post(suppressionRoot+"/remove", form)
	}
	// One, whatever else is marked; only what is named goes.
	got := remove(suppressionRoot+"?reason=unsubscribe", url.Values{"only": {entryName(all[0])}, "entry": {entryName(all[3])}}).want(t, http.StatusSeeOther)
	if at := got.header.Get("Location"); at != suppressionRoot+"?reason=unsubscribe&removed=1" {
		t.Errorf("it leads to %s", at)
	}
	m.wantListed(`"a b"@example.com||manual||`, "b@example.com||manual||", "a@example.com||bounce||", "a@example.com|news|unsubscribe||")
	// Those that are marked, and one of them again.
	got = remove("https://evil.example/", url.Values{"entry": {entryName(all[1]), entryName(odd), entryName(odd)}}).want(t, http.StatusSeeOther)
	if at := got.header.Get("Location"); at != suppressionRoot+"?removed=2" {
		t.Errorf("it leads to %s", at)
	}
	m.wantListed("b@example.com||manual||", "a@example.com||bounce||")
	remove("", url.Values{}).want(t, http.StatusSeeOther)
	for _, bad := range []string{"x", `["","",""]`, `["a@example.com"]`, "null"} {
		remove("", url.Values{"entry": {entryName(all[2]), bad}}).want(t, http.StatusUnprocessableEntity)
	}
	m.wantListed("b@example.com||manual||", "a@example.com||bounce||")
}

// upload is a form with a file, as a browser sends it, or with a value where the
// file has no name.
func (c *client) upload(path, field, name, text string) reply {
	c.r.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part := func() (io.Writer, error) { return form.CreateFormFile(field, name) }
	if name == "" {
		part = func() (io.Writer, error) { return form.CreateFormField(field) }
	}
	w, err := part()
	if err != nil {
		c.r.t.Fatal(err)
	}
	_, _ = w.Write([]byte(text)) // into memory
	if err := form.Close(); err != nil {
		c.r.t.Fatal(err)
	}
	return c.do(http.MethodPost, path, form.FormDataContentType(), body.String())
}

func TestImportSuppressions(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	m.suppress(mail.Suppression{Address: "known@example.com", Reason: mail.Manual, Note: "old"})
	const list = "\ufeffaddress,reason,category,note\nKnown@example.com,,,new\nnew@example.com,unsubscribe,news,\"two\nlines\"\nnew@example.com,unsubscribe,news,again\n"
	page := ann.upload(suppressionRoot+"/preview", "file", "list.csv", list).want(t, http.StatusOK,
		"list.csv", `<dd id="good">3</dd>`, `<dd id="new">1</dd>`, `<dd id="known">2</dd>`, `<dd id="bad">0</dd>`, "Import 3 lines")
	m.wantListed("known@example.com||manual|old|")
	kept := regexp.MustCompile(`name="list" value="([^"]+)"`).FindStringSubmatch(page.body)
	if kept == nil {
		t.Fatal("the page has no list")
	}
	encoded := strings.ReplaceAll(kept[1], "&#43;", "+")
	next := ann.upload(suppressionRoot+"/import", "list", "", encoded).want(t, http.StatusSeeOther)
	if at := next.header.Get("Location"); at != suppressionRoot+"?imported=3" {
		t.Errorf("it leads to %s", at)
	}
	m.wantListed("new@example.com|news|unsubscribe|again|dashboard:ann", "known@example.com||manual|new|dashboard:ann")

	// A list with a bad line is not imported, and says which they are.
	bad := "address\nx@example.com\nnobody\n\xff@example.com\n"
	ann.upload(suppressionRoot+"/preview", "file", "bad.csv", bad).want(t, http.StatusUnprocessableEntity,
		`<dd id="good">1</dd>`, `<dd id="bad">2</dd>`, "line 3: has an address that is none", "line 4: is not UTF-8").lacks(t, "Import 1 lines", `name="list"`)
	ann.upload(suppressionRoot+"/import", "list", "", "eA==").want(t, http.StatusUnprocessableEntity, "address")
	ann.upload(suppressionRoot+"/import", "list", "", "no base64!").want(t, http.StatusUnprocessableEntity)
	ann.upload(suppressionRoot+"/preview", "file", "many.csv", "address\n"+strings.Repeat("x\n", 150)).want(t, http.StatusUnprocessableEntity,
		`<dd id="bad">more than 100</dd>`, "more: bad lines are 50")
	ann.upload(suppressionRoot+"/preview", "file", "empty.csv", "address\n").want(t, http.StatusOK, "has no entries").lacks(t, `name="list"`)
	ann.upload(suppressionRoot+"/preview", "other", "x.csv", "x").want(t, http.StatusUnprocessableEntity, "choose a file")
	ann.upload(suppressionRoot+"/preview", "file", "huge.csv", strings.Repeat("x", 12<<20)).want(t, http.StatusUnprocessableEntity, "more than 8 MiB")
	ann.post(suppressionRoot+"/preview", nil).want(t, http.StatusUnprocessableEntity, "cannot be read")
	if n := len(m.listed()); n != 2 {
		t.Errorf("%d entries are there", n)
	}
}

func TestExportSuppressions(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	const n = 2500 // more than are read at a time
	var all []mail.Suppression
	for i := range n {
		all = append(all, mail.Suppression{Address: fmt.Sprintf("u%d@example.com", i), Category: "news", Reason: mail.Unsubscribe, Note: "=1+1"})
	}
	m.suppress(all...)
	m.suppress(mail.Suppression{Address: "gone@example.com", Reason: mail.Bounce})
	got := ann.get(suppressionRoot+".csv").want(t, http.StatusOK, "address,category,reason", "u2499@example.com,news,unsubscribe,'=1+1", "gone@example.com")
	if lines := strings.Count(got.body, "\n"); lines != n+2 {
		t.Errorf("the file has %d lines", lines)
	}
	if got := ann.get(suppressionRoot + ".csv?reason=bounce"); strings.Count(got.body, "\n") != 2 {
		t.Errorf("of the bounces it is %q", got.body)
	}
	ann.get(suppressionRoot+".csv?q=x").want(t, http.StatusUnprocessableEntity)
	ann.upload(suppressionRoot+"/preview", "file", "back.csv", got.body).want(t, http.StatusOK, `<dd id="new">0</dd>`, fmt.Sprintf(`<dd id="known">%d</dd>`, n+1))
}

// The pages tell when the database does not answer.
func TestSuppressionsWithoutDatabase(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{suppressionRoot, suppressionRoot + ".csv"} {
		if got := ann.get(path); got.status < 500 {
			t.Errorf("%s is answered %d", path, got.status)
		}
	}
	if got := ann.post(suppressionRoot+"/add", url.Values{"address": {"a@example.com"}, "reason": {"manual"}}); got.status < 500 {
		t.Errorf("adding is answered %d", got.status)
	}
	if got := ann.upload(suppressionRoot+"/preview", "file", "x.csv", "address\na@example.com\n"); got.status < 500 {
		t.Errorf("a list is answered %d", got.status)
	}
}
