package template

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"
	"unicode"

	"github.com/postrider/postrider/tasks"
)

var (
	errSlow = errors.New("it takes too long")
	errLong = fmt.Errorf("it writes more than %d bytes", maxOutput)
)

// executor is a set of templates of either kind.
type executor interface {
	ExecuteTemplate(w io.Writer, name string, data any) error
}

// execute writes the named template of a set.
func (e *Edition) execute(ctx context.Context, set executor, name string, d data) (string, error) {
	w := bounded{ctx: ctx, left: maxOutput}
	err := set.ExecuteTemplate(&w, name, d.values)
	switch {
	case err == nil:
		return w.String(), nil
	case errors.Is(err, errLong):
		return "", tasks.Invalid{{Field: "data", Problem: fmt.Sprintf("cannot be rendered by the template: %v", err)}}
	case errors.Is(context.Cause(ctx), errSlow): // whatever it came to in the end
		return "", tasks.Invalid{{Field: "data", Problem: fmt.Sprintf("cannot be rendered by the template: %v", errSlow)}}
	case ctx.Err() != nil:
		return "", fmt.Errorf("rendering the template %s: %w", e.Name, context.Cause(ctx))
	}
	return "", tasks.Invalid{blame(err)}
}

// bounded is a writer that ends a template which writes too much, or goes on
// writing after ctx has ended.
type bounded struct {
	strings.Builder
	ctx  context.Context
	left int
}

// Write implements io.Writer.
func (w *bounded) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errLong
	}
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.Builder.Write(p)
}

// makeInterruptible has every turn of a {{range}} write, if only nothing: a
// bounded writer can end it then. Data decides how many turns there are, and
// text/template counts to a number for as long as it takes.
func makeInterruptible(tree *parse.Tree) {
	if tree == nil || tree.Root == nil {
		return
	}
	for n := range nodes(tree.Root) {
		if turn, ok := n.(*parse.RangeNode); ok {
			turn.List.Nodes = slices.Insert(turn.List.Nodes, 0, parse.Node(&parse.TextNode{NodeType: parse.NodeText, Pos: turn.Pos}))
		}
	}
}

// WriteString implements io.StringWriter, which html/template looks for.
func (w *bounded) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// The words of text/template, whose errors have no fields:
//
//	template: welcome.html:3:12: executing "content" at <.user.name>: map has no entry for key "name"
var (
	executionError = regexp.MustCompile(`^(?:html/)?template: ([^ ]+?):(\d+)(?::\d+)?: executing "[^"]*" at <(.*?)>: (.*)$`)
	fieldChain     = regexp.MustCompile(`^\$?((?:\.[\pL_][\pL\pN_]*)+)$`)
	missingKey     = regexp.MustCompile(`no entry for key "([^"]*)"$`)
)

// blame names the field of the data at which a template failed, as far as that
// can be told: within {{range}} and {{with}} the path is from there.
func blame(err error) tasks.FieldError {
	parts := executionError.FindStringSubmatch(err.Error())
	if parts == nil {
		return tasks.FieldError{Field: "data", Problem: "cannot be rendered by the template: " + err.Error()}
	}
	file, at, expr, problem := parts[1], parts[2], parts[3], parts[4]
	out := tasks.FieldError{Field: "data", Problem: fmt.Sprintf("cannot be rendered by the template (%s, line %s): %s", file, at, problem)}
	chain := fieldChain.FindStringSubmatch(expr)
	if chain == nil {
		return out
	}
	path := chain[1]
	if key := missingKey.FindStringSubmatch(problem); key != nil {
		// The chain may go on behind what is missing.
		upTo, _, _ := strings.Cut(path+".", "."+key[1]+".")
		path = upTo + "." + key[1]
		out.Problem = fmt.Sprintf("must be given: the template needs it (%s, line %s)", file, at)
	}
	out.Field = "data" + path
	return out
}

// line makes one line of what a template wrote, without control characters: it
// goes into a header.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Join(strings.Fields(s), " ")
}
