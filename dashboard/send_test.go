package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// sending is a form of the page's with further fields.
func (c *client) sending(path string, fields ...string) url.Values {
	c.r.t.Helper()
	v := c.get(path).want(c.r.t, http.StatusOK).form()
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return v
}

func (m *mailRig) all() []job.Job {
	m.t.Helper()
	got, err := m.store.List(m.t.Context(), job.Filter{Limit: 100})
	if err != nil {
		m.t.Fatal(err)
	}
	return got
}

func TestSendMail(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	form := ann.sending("/admin/send", "to", "User@Example.com", "subject", "Hello", "text", "How are you?")
	path := ann.post("/admin/send", form).want(t, http.StatusSeeOther).header.Get("Location")
	if again := ann.post("/admin/send", form).want(t, http.StatusSeeOther).header.Get("Location"); again != path || len(m.all()) != 1 {
		t.Errorf("sent twice it leads to %s and %s, with %d jobs", path, again, len(m.all()))
	}
	ann.get(path).want(t, http.StatusOK, "Hello", "user@example.com", "Accepted from dashboard:ann")

	// Changed after it was sent, it is a form of its own.
	form.Set("subject", "Good bye")
	asked := ann.post("/admin/send", form).want(t, http.StatusConflict, "This form was sent before", `value="Good bye"`)
	form.Set("once", asked.form().Get("once"))
	ann.post("/admin/send", form).want(t, http.StatusSeeOther)
	if n := len(m.all()); n != 2 {
		t.Errorf("%d jobs are there", n)
	}

	several := ann.sending("/admin/send", "to", "a@example.com, b@example.com\nA@Example.com", "subject", "News", "text", "x", "priority", "bulk", "when", "delay", "delay", "30")
	several.Set("priority", "normal")
	list := ann.post("/admin/send", several).want(t, http.StatusSeeOther).header.Get("Location")
	ann.get(list).want(t, http.StatusOK, "a@example.com", "b@example.com", "scheduled")
	if n := len(m.all()); n != 4 {
		t.Errorf("%d jobs are there", n)
	}
	for _, j := range m.all()[:2] {
		found, err := m.store.Find(t.Context(), j.ID)
		if err != nil || strings.Count(string(found.Payload), "@") != 2 /* rcpt and to */ || found.RunAt.Sub(found.CreatedAt) != 30*time.Minute {
			t.Errorf("the job is %s, due %v after: %v", found.Payload, found.RunAt.Sub(found.CreatedAt), err)
		}
	}
	const begun, done = "dashboard:ann job.send 1 begun", "dashboard:ann job.send 1 done"
	m.wantAudited(begun, done, begun, done, begun, "dashboard:ann job.send 0 conflict", begun, done, "dashboard:ann job.send 2 begun", "dashboard:ann job.send 2 done")
}

func TestSendIsChecked(t *testing.T) {
	m := newMailRig(t)
	ann, bob := m.as("ann"), m.as("bob")
	for name, c := range map[string]struct {
		fields []string
		says   []string
	}{
		"nothing":        {nil, []string{`id="why-to"`, "must name somebody", "something is wrong below"}},
		"no text":        {[]string{"to", "user@example.com"}, []string{`id="why-subject"`, `id="why-text"`, `name="subject" value="" autocomplete="off" aria-invalid="true"`}},
		"a bad address":  {[]string{"to", "user@example.com, nobody", "subject", "s", "text", "t"}, []string{"&#34;nobody&#34;, which is not a mail address"}},
		"a bad category": {[]string{"to", "user@example.com", "subject", "s", "text", "t", "category", "No!"}, []string{`id="why-category"`}},
		"a bad delay":    {[]string{"to", "user@example.com", "subject", "s", "text", "t", "when", "delay", "delay", "soon"}, []string{`id="why-delay"`}},
		"a bad time":     {[]string{"to", "user@example.com", "subject", "s", "text", "t", "when", "at", "at", "soon"}, []string{`id="why-at"`}},
		"too far ahead":  {[]string{"to", "user@example.com", "subject", "s", "text", "t", "when", "at", "at", "2999-01-01T00:00"}, []string{`id="why-at"`}},
		"a template's data": {[]string{"to", "user@example.com", "template", "receipt", "data.items", "{", "data.total", "1 €"},
			[]string{`id="why-data.items"`, "must be JSON", `value="1 €"`}},
		"a template's missing data": {[]string{"to", "user@example.com", "template", "receipt", "data.total", "1 €"},
			[]string{`id="why-data.items"`, `id="why-data.number"`, "must be given"}},
	} {
		got := ann.post("/admin/send", ann.sending("/admin/send", c.fields...))
		if got.status != http.StatusUnprocessableEntity {
			t.Errorf("%s is answered %d", name, got.status)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(got.body, part) {
				t.Errorf("%s: the page lacks %s", name, part)
			}
		}
	}
	if n := len(m.all()); n != 0 {
		t.Errorf("%d jobs were made", n)
	}
	form := ann.sending("/admin/send", "to", "user@example.com", "subject", "s", "text", "t")
	bob.get("/admin").want(t, http.StatusOK).lacks(t, "/admin/send")
	bob.get("/admin/send").want(t, http.StatusForbidden)
	bob.post("/admin/send", form).want(t, http.StatusForbidden)
	bob.post("/admin/send/html", url.Values{"html": {"x"}}).want(t, http.StatusForbidden)
	m.anonymous().post("/admin/send", form).want(t, http.StatusUnauthorized)
	ann.post("/admin/send", form, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }).want(t, http.StatusForbidden)
	ann.get("/admin/send?template=nonsense").want(t, http.StatusNotFound)
}

func TestSendTemplate(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	chosen := ann.sending("/admin/send", "to", "user@example.com", "template", "welcome", "choose", "1")
	ann.post("/admin/send", chosen).want(t, http.StatusOK, `name="data.name"`, `name="data.url"`, `<option value="de"`, "user@example.com").lacks(t, `name="text"`)
	chosen.Del("choose")
	for name, value := range map[string]string{"data.name": "Ann <b>", "data.product": "Shop", "data.url": "https://example.com/c", "locale": "de", "category": "news"} {
		chosen.Set(name, value)
	}
	chosen.Set("preview", "1")
	shown := ann.post("/admin/send", chosen).want(t, http.StatusOK, "Preview", "Ann &lt;b&gt;", "List-Unsubscribe", "hello@example.com", "sandbox")
	if len(m.all()) != 0 {
		t.Fatal("a preview sends")
	}
	frame := ann.post("/admin/send/html", url.Values{"html": {shown.form().Get("html")}}).want(t, http.StatusOK, "<html")
	if policy := frame.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "sandbox; default-src 'none'") {
		t.Errorf("the mail's policy is %s", policy)
	}
	chosen.Del("preview")
	path := ann.post("/admin/send", chosen).want(t, http.StatusSeeOther).header.Get("Location")
	ann.get(path).want(t, http.StatusOK, "welcome", "news")
}

func TestSendNotification(t *testing.T) {
	m := newMailRig(t)
	ann := m.as("ann")
	for _, c := range []struct{ fields, stream string }{
		{"for=user&receiver=42", "user:42"}, {"for=room&receiver=lobby", "room:lobby"}, {"for=everyone&receiver=", "everyone"},
	} {
		fields, err := url.ParseQuery(c.fields)
		if err != nil {
			t.Fatal(err)
		}
		form := ann.sending("/admin/send?kind=notification", "message", "Hello", "type", "warning", "data", `{"a":1}`)
		for name := range fields {
			form.Set(name, fields.Get(name))
		}
		path := ann.post("/admin/send", form).want(t, http.StatusSeeOther).header.Get("Location")
		ann.get(path).want(t, http.StatusOK, c.stream, "warning", "notification:send")
	}
	form := ann.sending("/admin/send?kind=notification", "for", "user", "data", "{")
	ann.post("/admin/send", form).want(t, http.StatusUnprocessableEntity, `id="why-receiver"`, `id="why-message"`, `id="why-data"`)
}

// TestSendInBrowser writes a mail from a template, looks at it, and sends it.
func TestSendInBrowser(t *testing.T) {
	m := newMailRig(t)
	b := openTab(t)
	b.enter(m.rig, "ann")
	b.Do(
		chromedp.Navigate(m.url+"/admin"),
		chromedp.Click(chromedp.CSS(`nav a[href="/admin/send"]`)),
		chromedp.WaitVisible(chromedp.CSS(`textarea[name=to]`)),
		chromedp.SendKeys(chromedp.CSS(`textarea[name=to]`), "user@example.com"),
		chromedp.SendKeys(chromedp.CSS(`select[name=template]`), "welcome"),
		chromedp.Click(chromedp.CSS(`button[name=choose]`)),
		chromedp.WaitVisible(css(`input[name="data.name"]`)),
		chromedp.SendKeys(css(`input[name="data.name"]`), "Ann"),
		chromedp.SendKeys(css(`input[name="data.product"]`), "Shop"),
		chromedp.SendKeys(css(`input[name="data.url"]`), "https://example.com/confirm"),
		chromedp.Click(chromedp.CSS(`button[name=preview]`)),
		chromedp.WaitVisible(chromedp.CSS(`iframe.mail`)),
	)
	b.shots("send-preview")
	b.Do(
		chromedp.Click(chromedp.CSS(`#send button.main`)),
		chromedp.WaitVisible(`//h2[text()="What happened"]`),
	)
	if all := m.all(); len(all) != 1 || all[0].Recipient != "user@example.com" {
		t.Errorf("the jobs are %+v", all)
	}
	b.Do(chromedp.Navigate(m.url + "/admin/send?kind=notification"))
	b.shots("send-notification")
	if nameless := browser.Ask(b.Tab, chromedp.Evaluate[string](nameless)); nameless != "" {
		t.Errorf("without a name are %s", nameless)
	}
}
