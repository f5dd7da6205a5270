package template

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	texttemplate "text/template"
	"text/template/parse"
)

// bundle is the source of an edition: all that its rendering needs.
type bundle struct {
	Name   string            `json:"name"`
	Locale string            `json:"locale,omitempty"`
	HTML   string            `json:"html"`           // the path of the HTML file
	Text   string            `json:"text,omitempty"` // of the text file, if there is one
	Files  map[string]string `json:"files"`          // by path
}

// encode writes the bundle, always the same for the same source, and its hash.
func (b bundle) encode() (source []byte, hash string, err error) {
	source, err = json.Marshal(b) // which sorts the files
	if err != nil {
		return nil, "", fmt.Errorf("writing the bundle: %w", err)
	}
	sum := sha256.Sum256(source)
	return source, hex.EncodeToString(sum[:]), nil
}

// open compiles an encoded bundle.
func open(source []byte) (*Edition, error) {
	var b bundle
	if err := json.Unmarshal(source, &b); err != nil {
		return nil, fmt.Errorf("reading a template's bundle: %w", err)
	}
	return compile(b)
}

// pick makes the bundle of what an edition needs of all files there are.
func pick(name, locale, html, text string, all map[string]string) (bundle, error) {
	b := bundle{Name: name, Locale: locale, HTML: html, Text: text, Files: all}
	needed := map[string]string{}
	for _, root := range []string{html, text} {
		if root == "" {
			continue
		}
		pages, err := b.closure(root)
		if err != nil {
			return bundle{}, err
		}
		for _, path := range pages {
			needed[path] = all[path]
		}
	}
	b.Files = needed
	return b, nil
}

// closure lists the files that the one at root is made of, directly or not, in
// the order in which they are to be parsed: root last, so that what it defines
// stands in for a layout's blocks.
func (b bundle) closure(root string) ([]string, error) {
	seen := map[string]bool{root: true}
	var rest []string
	for todo := []string{root}; len(todo) > 0; todo = todo[1:] {
		path := todo[0]
		trees := map[string]*parse.Tree{}
		t := parse.New(path)
		t.Mode = parse.SkipFuncCheck
		if _, err := t.Parse(b.Files[path], "", "", trees); err != nil {
			return nil, fmt.Errorf("parsing: %w", err)
		}
		for _, tree := range trees {
			for _, name := range called(tree.Root) {
				if _, there := b.Files[name]; !there || seen[name] {
					continue // a definition, or one that is missing: see complete
				}
				seen[name] = true
				rest, todo = append(rest, name), append(todo, name)
			}
		}
	}
	slices.Sort(rest)
	return append(rest, root), nil
}

// called lists the names in a tree's {{template}} actions.
func called(root parse.Node) (out []string) {
	for n := range nodes(root) {
		if call, ok := n.(*parse.TemplateNode); ok {
			out = append(out, call.Name)
		}
	}
	return out
}

// nodes are those of a tree that stand in lists, the tree's first.
func nodes(n parse.Node) iter.Seq[parse.Node] {
	return func(yield func(parse.Node) bool) { visit(n, yield) }
}

func visit(n parse.Node, yield func(parse.Node) bool) bool {
	branch := func(b *parse.BranchNode) bool {
		return visit(b.List, yield) && (b.ElseList == nil || visit(b.ElseList, yield))
	}
	if !yield(n) {
		return false
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			if !visit(child, yield) {
				return false
			}
		}
	case *parse.IfNode:
		return branch(&n.BranchNode)
	case *parse.RangeNode:
		return branch(&n.BranchNode)
	case *parse.WithNode:
		return branch(&n.BranchNode)
	}
	return true
}

// complete finds names that are called and defined nowhere, which Go's
// templates tell of only when they come to the place.
func complete(set *texttemplate.Template) error {
	for _, t := range set.Templates() {
		if t.Tree == nil {
			continue
		}
		for _, name := range called(t.Tree.Root) {
			if set.Lookup(name) == nil {
				return fmt.Errorf("%s calls the template %q, which is not there", t.Tree.ParseName, name)
			}
		}
	}
	return nil
}
