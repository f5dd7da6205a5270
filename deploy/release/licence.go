package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// allowed are the kinds of terms that the programs may contain: those that ask
// no more than to be named and kept, or, as the MPL, for changes to their own
// files.
var allowed = []string{"Apache-2.0", "BSD", "ISC", "MIT", "MPL-2.0", "public domain"}

// marks are what gives each kind of terms away, in lower case with single
// spaces. One of a kind that is not allowed is enough to refuse a module.
var marks = []struct{ text, kind string }{
	{"apache license version 2.0, january 2004", "Apache-2.0"},
	{"redistribution and use in source and binary forms", "BSD"},
	{"permission to use, copy, modify, and distribute this software for any purpose with or without fee", "ISC"},
	{"permission to use, copy, modify, and/or distribute this software for any purpose with or without fee", "ISC"},
	{"permission is hereby granted, free of charge, to any person obtaining a copy", "MIT"},
	{"mozilla public license, version 2.0", "MPL-2.0"},
	{"mozilla public license version 2.0", "MPL-2.0"},
	{"dedicated to the public domain", "public domain"},
	{"released into the public domain", "public domain"},

	{"gnu general public license version", "GPL"},
	{"gnu lesser general public license version", "LGPL"},
	{"gnu library general public license version", "LGPL"},
	{"gnu affero general public license version", "AGPL"},
	{"modify it under the terms of the gnu", "GPL"},
	{"server side public license", "SSPL"},
	{"business source license", "BUSL"},
	{"elastic license", "Elastic"},
	{"commons clause", "Commons Clause"},
	{"eclipse public license", "EPL"},
	{"common development and distribution license", "CDDL"},
	{"attribution-noncommercial", "CC BY-NC"},
}

// mainLicence is a file one of which must tell a kind. What else there is, such as
// NOTICE, may tell none, and none that is not allowed.
var mainLicence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)`)

// kindsOf tells the kinds of a module's terms and errs when it cannot, or when
// one is not allowed.
func kindsOf(module string, files []file) (kinds []string, err error) {
	known := false
	for _, f := range files {
		text, found := strings.ToLower(strings.Join(strings.Fields(string(f.content)), " ")), false
		for _, m := range marks {
			if !strings.Contains(text, m.text) {
				continue
			}
			if !slices.Contains(allowed, m.kind) {
				return nil, fmt.Errorf("the module %s has the terms %s in %s, which are not among those allowed: %s", module, m.kind, path.Base(f.name), strings.Join(allowed, ", "))
			}
			found = true
			kinds = append(kinds, m.kind)
		}
		known = known || found && mainLicence.MatchString(path.Base(f.name))
	}
	if !known {
		return nil, fmt.Errorf("the module %s has a licence of a kind that is not known", module)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), nil
}

// linked lists the modules that the programs are made of on any platform. Unlike
// the programs' own list it needs no build.
func (p *plan) linked(ctx context.Context) ([]*debug.Module, error) {
	paths := map[string]bool{}
	for platform := range strings.SplitSeq(platforms, ",") {
		goos, goarch, _ := strings.Cut(platform, "/")
		cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./cmd/...")
		cmd.Dir, cmd.Env = p.root, append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("asking what the programs import: %w", withStderr(err))
		}
		for _, name := range strings.Fields(string(out)) {
			paths[name] = true
		}
	}
	modules := make([]*debug.Module, 0, len(paths))
	for name := range paths {
		modules = append(modules, &debug.Module{Path: name})
	}
	slices.SortFunc(modules, func(a, b *debug.Module) int { return strings.Compare(a.Path, b.Path) })
	return modules, nil
}

// listLicences prints each module of the programs with the kinds of its terms.
func (p *plan) listLicences(ctx context.Context, w io.Writer) error {
	modules, err := p.linked(ctx)
	if err != nil {
		return err
	}
	files, err := p.licences(ctx, modules)
	if err != nil {
		return err
	}
	for len(files) > 0 {
		folder, n := path.Dir(files[0].name), 1
		for n < len(files) && path.Dir(files[n].name) == folder {
			n++
		}
		module := strings.TrimPrefix(folder, licenceFolder+"/")
		kinds, err := kindsOf(module, files[:n])
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%-65s %s\n", module, strings.Join(kinds, ", ")); err != nil {
			return fmt.Errorf("printing the licences: %w", err)
		}
		files = files[n:]
	}
	return nil
}
