package template

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/tasks"
)

func TestRender(t *testing.T) {
	tm := one(t, files{
		"t.html": `{{define "subject"}}
  Hi {{.name}},
  it is <here>{{end}}{{define "preheader"}}A & {{.name}}{{end}}{{define "content"}}<p class="x">Hi {{.name}}</p>
<p><a href="{{.url}}">Go</a> or <a name="top">stay</a>, or {{template "partials/it.html" dict "what" .name}}</p><a href="https://a.example/">https://a.example/</a>{{end}}{{template "layouts/l.html" .}}`,
		"layouts/l.html":      `<html><head><title>{{template "subject" .}}</title><style>.x{color:red}a:hover{color:blue}@media print{p{color:black !important}}</style></head><body class="b">{{block "content" .}}nothing{{end}}</body></html>`,
		"partials/it.html":    `<b>{{.what}}</b>`,
		"partials/other.html": `not used`,
	})
	m := render(t, tm, "", `{"name":"<Ann>\r\nBcc: x@example.org","url":"javascript:alert(1)"}`)
	if want := `Hi <Ann> Bcc: x@example.org, it is <here>`; m.Subject != want {
		t.Errorf("the subject is %q, want %q", m.Subject, want)
	}
	if want := `A & <Ann> Bcc: x@example.org`; m.Preheader != want {
		t.Errorf("the preheader is %q, want %q", m.Preheader, want)
	}
	contains(t, "HTML", m.HTML,
		`<body class="b"><div style="display:none;max-height:0;overflow:hidden;mso-hide:all">A &amp; &lt;Ann&gt; Bcc: x@example.org`,
		`<p class="x" style="color: red;">Hi &lt;Ann&gt;`, "<b>&lt;Ann&gt;", `href="#ZgotmplZ"`, "a:hover {", "@media print {", "color: black !important")
	contains(t, "text", m.Text, "Hi <Ann> Bcc: x@example.org\n\nGo <#ZgotmplZ> or stay, or <Ann>", "\nhttps://a.example/\n")
	if strings.Contains(m.Text, "color") || strings.Contains(m.Text, "A &") {
		t.Errorf("the text has what is not to be read:\n%s", m.Text)
	}
	if got := tm.Editions()[0].Files(); len(got) != 3 || got["partials/other.html"] != "" {
		t.Errorf("the edition is made of %v", got)
	}
}

// The link to unsubscribe is there in every template, empty where a mail has none,
// and no caller's to give.
func TestUnsubscribeURL(t *testing.T) {
	tm := one(t, files{
		"t.html":        page(`{{with .UnsubscribeURL}}<a href="{{.}}">leave</a>{{else}}stay{{end}}`),
		"t.txt":         `{{.UnsubscribeURL}}`,
		"t.schema.json": `{"additionalProperties":false,"properties":{"UnsubscribeURL":{}},"examples":[{}]}`,
	})
	const link = "https://post.example.com/unsubscribe/YQ.Yg-_"
	_, with, err := tm.Render(t.Context(), "", nil, link)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "HTML", with.HTML, `<a href="`+link+`">leave</a>`)
	if without := render(t, tm, "", "{}"); with.Text != link+"\n" || without.Text != "" || !strings.Contains(without.HTML, "stay") {
		t.Errorf("the texts are %q and %q", with.Text, without.Text)
	}
	refused(t, tm, `{"UnsubscribeURL":"https://elsewhere.example"}`, "data.UnsubscribeURL")
	// What was accepted before that was refused is sent with the true one.
	m, err := tm.Edition("").Render(t.Context(), []byte(`{"UnsubscribeURL":"https://elsewhere.example"}`), link)
	if err != nil || m.Text != link+"\n" {
		t.Errorf("the text is %q, %v", m.Text, err)
	}
	_, broken := build(nil, files{
		"t.html": page(`{{if .UnsubscribeURL}}{{.no}}{{end}}`), "t.schema.json": `{"examples":[{}]}`,
	})
	if broken["t"] == nil {
		t.Error("a template that only fails with a link was taken")
	}
}

func TestTextOfItsOwn(t *testing.T) {
	tm := one(t, files{
		"t.html":             page(`<p>HTML`),
		"t.txt":              "{{template \"partials/hello.txt\" .}}   \r\n\r\n\r\n\r\n<{{.name}}> & co",
		"partials/hello.txt": "Hello,",
	})
	if m := render(t, tm, "", `{"name":"Ann"}`); m.Text != "Hello,\n\n<Ann> & co\n" {
		t.Errorf("the text is %q", m.Text)
	}
}

func TestLocale(t *testing.T) {
	tm := one(t, files{
		"t.html": page("default"), "t.txt": "default text",
		"t.de.html": page("deutsch"), "t.de-AT.html": page("österreichisch"), "t.pt_BR.html": page("brasileiro"),
		"t.fr.html": page("français"), "t.fr.txt": "texte",
	})
	for locale, want := range map[string]string{
		"": "default text\n", "en": "default text\n", "de": "deutsch\n", "de-DE": "deutsch\n", "DE_at": "österreichisch\n",
		"de-AT-1996": "österreichisch\n", "pt-BR": "brasileiro\n", "pt": "default text\n", "fr-CA": "texte\n",
	} {
		if m := render(t, tm, locale, ""); m.Text != want {
			t.Errorf("%q is answered with %q, want %q", locale, m.Text, want)
		}
	}
	if _, _, err := tm.Try(t.Context(), "klingon", nil, ""); err == nil || !strings.Contains(err.Error(), "locale") {
		t.Errorf("no language: %v", err)
	}
}

func TestData(t *testing.T) {
	tm := one(t, files{"t.html": page(""), "t.txt": `{{.n}} {{printf "%.2f" .f}} {{if gt .n 2}}more{{end}} {{range .list}}[{{.}}]{{end}} {{.yes}} {{.nothing}} {{len .map}}{{index .map "k"}}`})
	m := render(t, tm, "", `{"n":12345678901,"f":0.5,"list":[1.5,1234567.89,1e3,-7,18446744073709551615,100000000000000000001,9007199254740993,"x",true],"yes":true,"nothing":null,"map":{"k":"v"}}`)
	if want := "12345678901 0.50 more [1.5][1234567.89][1000][-7][18446744073709551615][100000000000000000001][9007199254740993][x][true] true <no value> 1v\n"; m.Text != want {
		t.Errorf("the text is %q, want %q", m.Text, want)
	}
	empty := one(t, files{"t.html": page(`{{index . "x"}}`)})
	for raw, want := range map[string]string{
		`{}`: "", "": "", `[]`: "data", `"x"`: "data", `null`: "data", `{`: "data",
		`{"x":{"y":["a","b\u0000"]}}`: "data.x.y[1]", `{"x":1e999}`: "data.x",
	} {
		if want == "" {
			refused(t, empty, raw)
		} else {
			refused(t, empty, raw, want)
		}
	}
}

// A template's data has no methods, and none of its values leads elsewhere.
func TestDataHasNoMethods(t *testing.T) {
	for _, body := range []string{`{{.Foo}}`, `{{.x.Foo}}`, `{{.list.Foo}}`, `{{.f.Foo}}`, `{{call .x}}`} {
		refusedSome(t, one(t, files{"t.html": page(body)}), `{"x":"s","list":[1],"f":1.5}`)
	}
}

func refusedSome(t *testing.T, tm *Template, data string) {
	t.Helper()
	if len(bad(t, tm, data)) == 0 {
		t.Errorf("%s takes %s", tm.Editions()[0].Files()["t.html"], data)
	}
}

// Without a schema, the template itself tells what it lacks.
func TestWhatIsMissing(t *testing.T) {
	for body, want := range map[string]string{
		`{{.name}}`:                                "data.name",
		`{{.user.name}}`:                           "data.user.name",
		`{{.user.address.city}}`:                   "data.user.address",
		`{{$.other}}`:                              "data.other",
		`{{if .flag}}x{{end}}`:                     "data.flag",
		`{{range .items}}x{{end}}`:                 "data.items",
		`{{.user.name | printf "%s"}}`:             "data.user.name",
		`<a href="/{{.name}}">x</a>`:               "data.name",
		`{{len .n}}`:                               "data",
		`{{.n.x}}`:                                 "data.n.x",
		`{{define "subject"}}{{.topic}}{{end}}`:    "data.topic",
		`{{define "preheader"}}{{.text}}{{end}}`:   "data.text",
		`{{with index . "nobody"}}{{.}}{{end}}`:    "",
		`{{define "subject"}} {{.empty}} {{end}}x`: "data",
	} {
		if !strings.Contains(body, `"subject"`) {
			body = page(body)
		}
		tm := one(t, files{"t.html": body})
		if want == "" {
			refused(t, tm, `{"user":{},"n":1,"empty":""}`)
			continue
		}
		refused(t, tm, `{"user":{},"n":1,"empty":""}`, want)
	}
	problem := bad(t, one(t, files{"t.html": page("\n\n<p>{{.name}}")}), "{}")["data.name"]
	contains(t, "problem", problem, "must be given", "t.html, line 3")
}

func TestSchema(t *testing.T) {
	tm := one(t, files{"t.html": page(`x`), "t.schema.json": `{
		"type": "object", "required": ["name", "items"], "additionalProperties": false,
		"properties": {
			"name": {"type": "string", "maxLength": 5}, "mail": {"type": "string", "format": "email"},
			"items": {"type": "array", "items": {"type": "object", "required": ["price"], "properties": {"price": {"type": "number", "maximum": 10}}}}
		},
		"examples": [{"name": "Ann", "items": []}]
	}`})
	refused(t, tm, `{"name":"Ann","items":[{"price":1.5}],"mail":"ann@example.org"}`)
	refused(t, tm, `{}`, "data.name", "data.items")
	refused(t, tm, `{"name":7,"items":[{"price":1},{}],"other":1}`, "data.name", "data.items[1].price", "data.other")
	refused(t, tm, `{"name":"Annabel","items":[{"price":11}],"mail":"x"}`, "data.name", "data.items[0].price", "data.mail")
	refused(t, tm, fmt.Sprintf(`{"name":"Ann","items":[{"price":%s}]}`, "1e-"+strings.Repeat("9", 50))) // and soon
	refused(t, tm, `{"name":"`+strings.Repeat("x", 10_000)+`","items":[]}`, "data.name")
	if problem := bad(t, tm, `{"name":"`+strings.Repeat("x", 10_000)+`","items":[]}`)["data.name"]; len(problem) > 300 {
		t.Errorf("the problem has %d bytes", len(problem))
	}
}

// What a template may write, and how long it may take, is bounded.
func TestBounds(t *testing.T) {
	grow := one(t, files{"t.html": page(`{{range .a}}{{range $.a}}{{range $.a}}{{$.text}}{{end}}{{end}}{{end}}`)})
	grow.Edition("").limit = time.Minute // a busy machine is slow too
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 1000), ",") + "]"
	problem := bad(t, grow, `{"text":"0123456789","a":`+list+`}`)["data"]
	contains(t, "problem", problem, "writes more than")
	refused(t, grow, `{"text":"x","a":[1,2]}`)

	slow := one(t, files{"t.html": page(`{{range .a}}{{range $.a}}{{range $.a}}{{""}}{{end}}{{end}}{{end}}`)})
	slow.Edition("").limit = 100 * time.Millisecond
	long := "[" + strings.TrimSuffix(strings.Repeat("1,", 100_000), ",") + "]"
	contains(t, "problem", bad(t, slow, `{"a":`+long+`}`)["data"], "takes too long")

	// Numbers can be ranged over, and nothing need be written.
	for _, f := range []files{
		{"t.html": page(`{{range .a}}{{if .}}{{end}}{{end}}`)},
		{"t.html": page(`x`), "t.txt": `{{with .a}}{{range .}}{{end}}{{end}}`},
		{"t.html": `{{define "subject"}}{{range .a}}{{end}}s{{end}}x`},
	} {
		counts := one(t, f)
		counts.Edition("").limit = 50 * time.Millisecond
		contains(t, "problem", bad(t, counts, `{"a":9000000000000000000}`)["data"], "takes too long")
	}

	endless := one(t, files{"t.html": page(`{{define "r"}}{{template "r" .}}{{end}}{{template "r" .}}`)})
	endless.Edition("").limit = time.Minute
	refused(t, endless, `{}`, "data")

	subject := one(t, files{"t.html": `{{define "subject"}}{{.s}}{{end}}x`})
	refused(t, subject, `{"s":"`+strings.Repeat("x", tasks.MaxSubject+1)+`"}`, "data")
	refused(t, subject, `{"s":"`+strings.Repeat("x", tasks.MaxSubject)+`"}`)
}

func TestTryHeedsItsContext(t *testing.T) {
	tm := one(t, files{"t.html": page("<p>{{.x}}")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := tm.Try(ctx, "", []byte(`{"x":1}`), "")
	if err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("the error is %v", err)
	}
}
