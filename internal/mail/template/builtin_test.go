package template

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/html"
)

// Every built-in template makes of its schema's examples what the golden files
// show; go test -update ./internal/mail/template writes them anew.
func TestBuiltinGolden(t *testing.T) {
	l, _, _ := openLibrary(t, "")
	names := []string{}
	for _, tm := range l.List() {
		names = append(names, tm.Name)
		for _, e := range tm.Editions() {
			for i, example := range tm.schema.examples {
				name := fmt.Sprintf("%s-%d", tm.Name, i)
				if e.Locale != "" {
					name = fmt.Sprintf("%s.%s-%d", tm.Name, e.Locale, i)
				}
				t.Run(name, func(t *testing.T) {
					checkGolden(t, e, name, example, "")
				})
				t.Run(name+"-unsubscribe", func(t *testing.T) {
					checkGolden(t, e, name+"-unsubscribe", example, ExampleUnsubscribeURL)
				})
			}
		}
	}
	if want := []string{"alert", "daily-digest", "receipt", "reset-password", "welcome"}; !slices.Equal(names, want) {
		t.Errorf("built in are %q, want %q", names, want)
	}
}

func checkGolden(t *testing.T, e *Edition, name string, example json.RawMessage, link string) {
	t.Helper()
	m, err := e.Render(t.Context(), example, link)
	if err != nil {
		t.Fatal(err)
	}
	for what, part := range map[string]string{"HTML": m.HTML, "text": m.Text} {
		if strings.Contains(part, ExampleUnsubscribeURL) != (link != "") || strings.Contains(strings.ToLower(part), "unsubscribe") != (link != "") {
			t.Errorf("with the link %q, the %s is\n%s", link, what, part)
		}
	}
	if link != "" && name[len(name)-len("0-unsubscribe"):] != "0-unsubscribe" {
		return // one of each is enough to look at
	}
	golden(t, name+".html", m.HTML)
	golden(t, name+".txt", "Subject: "+m.Subject+"\nPreheader: "+m.Preheader+"\n\n"+m.Text)
	checkHTML(t, m)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from its golden file; it is\n%s", name, got)
	}
}

// checkHTML holds a built-in mail to what mail programs need: styles in the
// elements, media queries in the head, the preheader first, nothing loaded.
func checkHTML(t *testing.T, m Mail) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(m.HTML))
	if err != nil {
		t.Fatal(err)
	}
	style, body := "", (*html.Node)(nil)
	for n := range doc.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "style":
			if n.Parent.Data != "head" {
				t.Errorf("a <style> stands in <%s>", n.Parent.Data)
			}
			style += n.FirstChild.Data
		case n.Data == "body":
			body = n
		case n.Data == "h1" && attr(n, "style") == "", n.Data == "a" && !strings.Contains(attr(n, "style"), "color"):
			t.Errorf("a <%s> has no style of its own", n.Data)
		case slices.Contains([]string{"img", "script", "link", "iframe"}, n.Data):
			t.Errorf("there is a <%s>", n.Data)
		}
	}
	contains(t, "style", style, "@media (prefers-color-scheme: dark)", "@media (max-width: 480px)", "!important")
	if strings.Contains(style, "font-family") {
		t.Error("what was put into the elements is in the head too")
	}
	first := body.FirstChild
	for first.Type == html.TextNode {
		first = first.NextSibling
	}
	if !strings.HasPrefix(first.FirstChild.Data, m.Preheader) || !strings.Contains(attr(first, "style"), "display:none") {
		t.Errorf("the body begins with %q, want the preheader %q", first.FirstChild.Data, m.Preheader)
	}
	if strings.Contains(m.Text, "<html") || strings.Contains(m.Text, "{{") || m.Text == "" {
		t.Errorf("the text is %q", m.Text)
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// Rendering writes into nothing that another mail is made of: many at once, of
// one edition and one data, are each what they are alone.
func TestRenderTogether(t *testing.T) {
	l, _, _ := openLibrary(t, "")
	tm, err := l.Find("receipt")
	if err != nil {
		t.Fatal(err)
	}
	shared := tm.Example()
	want := render(t, tm, "", string(shared))
	var wait sync.WaitGroup
	for g := range 16 {
		wait.Go(func() {
			for i := range 10 {
				var own map[string]any
				if err := json.Unmarshal(shared, &own); err != nil {
					t.Error(err)
					return
				}
				number := fmt.Sprintf("%d-%d", g, i)
				own["number"] = number
				raw, err := json.Marshal(own)
				if err != nil {
					t.Error(err)
					return
				}
				_, m, err := tm.Render(t.Context(), "", raw, "")
				if err != nil || !strings.Contains(m.HTML, "Receipt "+number+",") || !strings.Contains(m.Text, "Receipt "+number+",") {
					t.Errorf("mail %s: %v", number, err)
				}
				if _, again, err := tm.Render(t.Context(), "", shared, ""); err != nil || again != want {
					t.Errorf("the same data makes another mail: %v", err)
				}
			}
		})
	}
	wait.Wait()
}
