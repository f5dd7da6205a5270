package httpapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

const welcomeData = `{"name":"Ann","product":"Example","url":"https://example.com/confirm"}`

// A mail of a template is rendered once when it is accepted, and pinned.
func TestSendTemplate(t *testing.T) {
	s := serve(t)
	s.post("/jobs/send-email", `{"to":["ann@example.com","bob@example.com"],"template":"welcome","locale":"de-AT","data":`+welcomeData+`}`).want(http.StatusAccepted)
	s.post("/jobs/send-email", `{"email":"ann@example.com","subject":"My own","template":"welcome","data":`+welcomeData+`}`).want(http.StatusAccepted)
	hashes := map[string]int{}
	for _, j := range s.all() {
		j, err := s.store.Find(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		mail, err := tasks.EmailSend.Decode(j.Payload)
		if err != nil {
			t.Fatal(err)
		}
		hashes[mail.TemplateHash]++
		if mail.Template != "welcome" || string(mail.Data) != welcomeData || mail.Text+mail.HTML != "" || (mail.Subject == "") != (mail.Locale != "") {
			t.Errorf("the payload is %s", j.Payload)
		}
	}
	if len(hashes) != 2 || hashes[""] != 0 {
		t.Errorf("the jobs are pinned to %v", hashes)
	}
}

func TestBadTemplateMails(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		fields []string
	}{
		"no such template":  {`{"email":"a@example.com","template":"nowhere"}`, []string{"template"}},
		"bad name":          {`{"email":"a@example.com","template":"../x"}`, []string{"template"}},
		"no data":           {`{"email":"a@example.com","template":"welcome"}`, []string{"data.name", "data.product", "data.url"}},
		"a field missing":   {`{"email":"a@example.com","template":"welcome","data":{"product":"x","url":"https://x.example"}}`, []string{"data.name"}},
		"a field too many":  {`{"email":"a@example.com","template":"alert","data":{"product":"x","severity":"info","title":"t","message":"m","x":1}}`, []string{"data.x"}},
		"below":             {`{"email":"a@example.com","template":"receipt","data":{"product":"x","number":"1","date":"d","total":"1","items":[{"what":"w","amount":1}]}}`, []string{"data.items[0].amount"}},
		"a script":          {`{"email":"a@example.com","template":"welcome","data":{"name":"a","product":"x","url":"javascript:alert(1)"}}`, []string{"data.url"}},
		"data of a list":    {`{"email":"a@example.com","template":"welcome","data":[]}`, []string{"data"}},
		"data alone":        {`{"email":"a@example.com","subject":"s","message":"m","data":{},"locale":"de"}`, []string{"data", "locale"}},
		"locale":            {`{"email":"a@example.com","template":"welcome","locale":"german please","data":` + welcomeData + `}`, []string{"locale"}},
		"text beside it":    {`{"to":"a@example.com","template":"welcome","text":"x","html":"y","data":` + welcomeData + `}`, []string{"html", "text"}},
		"message beside it": {`{"email":"a@example.com","template":"welcome","message":"x","data":` + welcomeData + `}`, []string{"message"}},
		"empty subject":     {`{"email":"a@example.com","template":"welcome","subject":" ","data":` + welcomeData + `}`, []string{"subject"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			a := s.post("/jobs/send-email", c.body).want(http.StatusUnprocessableEntity)
			if got := slices.Sorted(maps.Keys(a.fields())); !slices.Equal(got, c.fields) {
				t.Errorf("the fields are %v, want %v: %s", got, c.fields, a.text)
			}
			if len(s.all()) != 0 {
				t.Error("a job was made")
			}
		})
	}
}

// In a batch each mail is judged on its own.
func TestTemplatesInABatch(t *testing.T) {
	s := serve(t)
	mail := func(data string) string {
		return `{"type":"email:send","payload":{"to":["a@example.com"],"template":"welcome","data":` + data + `}}`
	}
	a := s.post("/jobs/batch", `{"jobs":[`+mail(welcomeData)+`,`+mail(`{"name":"Ann"}`)+`]}`).want(http.StatusAccepted)
	if a.json["accepted"] != 1.0 || a.json["refused"] != 1.0 || !strings.Contains(a.text, `"payload.data.product"`) {
		t.Errorf("the batch is answered with %s", a.text)
	}
}

func TestTemplateRoutes(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("order.html", `{{define "subject"}}Order {{.number}}{{end}}{{define "preheader"}}On its way{{end}}<body>Grüße</body>`)
	put("order.schema.json", `{"required":["number"],"examples":[{"number":7}]}`)
	put("order.de-CH.html", `{{define "subject"}}Bestellung {{.number}}{{end}}x`)
	put("bad.html", "{{if}}")
	log, _ := testkit.CaptureLog(t)
	library, err := template.NewLibrary(template.Options{Config: template.Config{Dir: dir}, Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(o *Options) { o.Templates = library })

	var list struct{ Templates []templateView }
	decodeInto(t, s.call(http.MethodGet, "/templates", "").want(http.StatusOK), &list)
	seen := map[string]templateView{}
	for _, v := range list.Templates {
		seen[v.Name] = v
	}
	if order := seen["order"]; order.Source != template.Directory || len(order.Locales) != 2 || order.Locales[1].Locale != "de-CH" || len(order.Locales[1].Hash) != 64 || order.Locales[0].Files != nil {
		t.Errorf("order is listed as %+v", order)
	}
	if bad := seen["bad"]; !strings.Contains(bad.Error, "bad.html:1") || seen["welcome"].Source != template.Builtin || len(seen) != 7 {
		t.Errorf("listed are %+v", seen)
	}
	var one templateView
	decodeInto(t, s.call(http.MethodGet, "/templates/order", "").want(http.StatusOK), &one)
	if len(one.Schema) == 0 || !strings.Contains(one.Locales[0].Files["order.html"], "Grüße") {
		t.Errorf("order is shown as %+v", one)
	}

	a := s.post("/templates/order/preview", `{"data":{"number":"<1>"}}`).want(http.StatusOK)
	headers, _ := a.json["headers"].(map[string]any)
	if a.json["subject"] != "Order <1>" || a.json["preheader"] != "On its way" || a.json["text"] != "Grüße\n" || a.json["locale"] != "" ||
		a.json["hash"] != one.Locales[0].Hash || !strings.Contains(a.json["html"].(string), "Grüße</body>") ||
		headers["Subject"] != "Order <1>" || headers["From"] != `"Shop" <shop@example.com>` || !strings.HasPrefix(headers["Content-Type"].(string), "multipart/alternative") {
		t.Errorf("the preview is %s", a.text)
	}
	if a := s.post("/templates/order/preview", `{"locale":"de-CH"}`).want(http.StatusOK); a.json["subject"] != "Bestellung 7" || a.json["locale"] != "de-CH" {
		t.Errorf("the preview of the example is %s", a.text)
	}
	for body, field := range map[string]string{`{"data":{}}`: "data.number", `{"locale":"?"}`: "locale", `{"dada":{}}`: "dada", `{"data":7}`: "data"} {
		if a := s.post("/templates/order/preview", body).want(http.StatusUnprocessableEntity); a.fields()[field] == "" {
			t.Errorf("%s is answered with %s", body, a.text)
		}
	}
	for category, shown := range map[string]bool{"": false, "news": true, "security": false} {
		a := s.post("/templates/welcome/preview", `{"category":"`+category+`"}`).want(http.StatusOK)
		html, _ := a.json["html"].(string)
		headers, _ := a.json["headers"].(map[string]any)
		if strings.Contains(html, template.ExampleUnsubscribeURL) != shown || (headers["List-Unsubscribe"] == "<"+template.ExampleUnsubscribeURL+">") != shown {
			t.Errorf("of the category %q, the preview is %s", category, a.text)
		}
	}
	s.post("/templates/bad/preview", `{}`).want(http.StatusUnprocessableEntity)
	s.post("/templates/nowhere/preview", `{}`).want(http.StatusNotFound)
	s.call(http.MethodGet, "/templates/nowhere", "").want(http.StatusNotFound)
	if len(s.all()) != 0 {
		t.Error("a preview made a job")
	}

	closed := serve(t, withKeys(t))
	closed.call(http.MethodGet, "/templates", "", "Authorization", "Bearer reader-secret-0000").want(http.StatusForbidden)
	closed.call(http.MethodPost, "/templates/welcome/preview", "{}", "Authorization", "Bearer writer-secret-0000").want(http.StatusOK)
	closed.call(http.MethodPost, "/templates/welcome/preview", "{}", "Authorization", "Bearer boss-secret-000000").want(http.StatusOK)
	closed.call(http.MethodPost, "/templates/welcome/preview", "{}").want(http.StatusUnauthorized)
}

func decodeInto(t *testing.T, a answer, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), into); err != nil {
		t.Fatal(err)
	}
}
