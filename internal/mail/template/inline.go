package template

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/andybalholm/cascadia"
	"github.com/aymerick/douceur/css"
	"github.com/aymerick/douceur/inliner"
	"github.com/aymerick/douceur/parser"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// styles puts the CSS of pages into their elements, as douceur's inliner does,
// but for reading the CSS and its selectors anew for each page, which is most
// of the work: the pages of one edition have the same CSS as a rule. It holds
// what it has read last.
type styles struct{ last atomic.Pointer[sheet] }

// sheet is the CSS of a page, read.
type sheet struct {
	sources []string
	rules   []rule
	rest    string // what cannot stand in an element
}

// rule is what a sheet says of the elements that a selector matches.
type rule struct {
	matches cascadia.Selector
	style   *inliner.StyleRule
}

// inline moves the CSS of a page's <style>s into its elements; what cannot stand
// there goes to the end of the head.
func (s *styles) inline(page string) (string, error) {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return "", fmt.Errorf("reading its HTML: %w", err)
	}
	sh, err := s.read(takeStyles(doc))
	if err != nil {
		return "", fmt.Errorf("reading its CSS: %w", err)
	}
	if err := sh.apply(doc); err != nil {
		return "", fmt.Errorf("reading the CSS of an element: %w", err)
	}
	var out strings.Builder
	out.Grow(2 * len(page))
	if err := html.Render(&out, doc); err != nil {
		return "", fmt.Errorf("writing its HTML: %w", err)
	}
	return out.String(), nil
}

// takeStyles removes the <style>s and returns what they hold.
func takeStyles(doc *html.Node) (sources []string) {
	var found []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "style" {
			found = append(found, n)
		}
	}
	for _, n := range found {
		var text strings.Builder
		for inner := range n.Descendants() {
			if inner.Type == html.TextNode {
				text.WriteString(inner.Data)
			}
		}
		sources = append(sources, text.String())
		n.Parent.RemoveChild(n)
	}
	return sources
}

// read is the sheet of the sources.
func (s *styles) read(sources []string) (*sheet, error) {
	if last := s.last.Load(); last != nil && slices.Equal(last.sources, sources) {
		return last, nil
	}
	sh := &sheet{sources: sources}
	var rest strings.Builder
	for _, source := range sources {
		parsed, err := parser.Parse(source)
		if err != nil {
			return nil, err
		}
		for _, r := range parsed.Rules {
			if r.Kind != css.QualifiedRule {
				rest.WriteString(r.String() + "\n")
				continue
			}
			for _, selector := range r.Selectors {
				style := inliner.NewStyleRule(selector, r.Declarations)
				if !inliner.Inlinable(selector) {
					rest.WriteString(style.String() + "\n")
				} else if matches, err := cascadia.Compile(selector); err == nil {
					sh.rules = append(sh.rules, rule{matches, style})
				} // else mail programs would not know it either
			}
		}
	}
	sh.rest = rest.String()
	s.last.Store(sh)
	return sh, nil
}

// apply writes the sheet into the elements, and the rest of it into the head.
func (s *sheet) apply(doc *html.Node) error {
	type matched struct {
		node  *html.Node
		rules []*inliner.StyleRule
	}
	var all []matched // before anything is changed, which selectors may look at
	var head *html.Node
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.DataAtom == atom.Head && head == nil {
			head = n
		}
		var rules []*inliner.StyleRule
		for _, r := range s.rules {
			if r.matches(n) {
				rules = append(rules, r.style)
			}
		}
		if rules != nil {
			all = append(all, matched{n, rules})
		}
	}
	for _, m := range all {
		if err := setStyle(m.node, m.rules); err != nil {
			return err
		}
	}
	if s.rest != "" && head != nil {
		style := &html.Node{Type: html.ElementNode, DataAtom: atom.Style, Data: "style", Attr: []html.Attribute{{Key: "type", Val: "text/css"}}}
		style.AppendChild(&html.Node{Type: html.TextNode, Data: "\n" + s.rest})
		head.AppendChild(style)
	}
	return nil
}

// inElement is the selector by which douceur ranks what stands in an element
// itself.
const inElement = "*INLINE*"

// setStyle gives an element the declarations of the rules that match it, and its
// own, by their rank; of those of one rank the last counts.
func setStyle(n *html.Node, rules []*inliner.StyleRule) error {
	if own := attribute(n, "style"); own != nil && own.Val != "" {
		declarations, err := parser.ParseDeclarations(own.Val)
		if err != nil {
			return err
		}
		rules = append(rules, inliner.NewStyleRule(inElement, declarations))
	}
	var chosen []*inliner.StyleDeclaration // by property
	for _, r := range rules {
		for _, d := range r.Declarations {
			one := inliner.NewStyleDeclaration(r, d)
			i, there := slices.BinarySearchFunc(chosen, d.Property, func(c *inliner.StyleDeclaration, property string) int {
				return strings.Compare(c.Declaration.Property, property)
			})
			switch {
			case !there:
				chosen = slices.Insert(chosen, i, one)
			case one.Specificity() >= chosen[i].Specificity():
				chosen[i] = one
			}
		}
	}
	var style strings.Builder
	for i, c := range chosen {
		if i > 0 {
			style.WriteByte(' ')
		}
		style.WriteString(c.Declaration.Property + ": " + c.Declaration.Value + ";")
	}
	if style.Len() > 0 {
		setAttribute(n, "style", style.String())
	}
	for _, c := range chosen {
		if name := asAttribute(c.Declaration.Property, n.Data); name != "" {
			setAttribute(n, name, c.Declaration.Value)
		}
	}
	return nil
}

// asAttribute is the attribute that says to old mail programs what a property of
// an element says, or empty.
func asAttribute(property, element string) string {
	is := func(elements ...string) bool { return slices.Contains(elements, element) }
	switch {
	case property == "text-align" && is("h1", "h2", "h3", "h4", "h5", "h6", "p", "div", "blockquote", "tr", "th", "td"),
		property == "float" && is("img"):
		return "align"
	case property == "background-color" && is("body", "table", "tr", "th", "td"):
		return "bgcolor"
	case property == "background-image" && is("table"):
		return "background"
	case property == "vertical-align" && is("th", "td"):
		return "valign"
	}
	return ""
}

func attribute(n *html.Node, name string) *html.Attribute {
	for i := range n.Attr {
		if n.Attr[i].Key == name {
			return &n.Attr[i]
		}
	}
	return nil
}

func setAttribute(n *html.Node, name, value string) {
	if a := attribute(n, name); a != nil {
		a.Val = value
		return
	}
	n.Attr = append(n.Attr, html.Attribute{Key: name, Val: value})
}
