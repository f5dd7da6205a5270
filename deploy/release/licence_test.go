package main

import (
	"bytes"
	"strings"
	"testing"
)

// Nothing is in the programs whose terms are not allowed, and each is told.
func TestLicences(t *testing.T) {
	var told bytes.Buffer
	if err := release(t.Context(), []string{"-root", "../..", "-licences"}, &told); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for line := range strings.Lines(told.String()) {
		module, kind, _ := strings.Cut(line, " ")
		kinds[module] = strings.TrimSpace(kind)
	}
	for module, want := range map[string]string{
		"go": "BSD", "github.com/hibiken/asynq": "MIT", "github.com/redis/go-redis/v9": "BSD", "github.com/prometheus/client_golang": "Apache-2.0",
	} {
		if kinds[module] != want {
			t.Errorf("%s has the terms %q, want %q", module, kinds[module], want)
		}
	}
	if len(kinds) < 50 {
		t.Errorf("only %d modules are told:\n%s", len(kinds), told.String())
	}
}

func TestTermsThatAreRefused(t *testing.T) {
	const mit = "MIT License\n\nPermission is hereby granted, free of\ncharge, to any person obtaining a copy of this software"
	for name, c := range map[string]struct {
		files map[string]string
		want  string // of the error
	}{
		"MIT":              {map[string]string{"LICENSE": mit}, ""},
		"MIT, and a logo":  {map[string]string{"LICENSE.txt": mit, "LICENSE-LOGO": "https://example.com/logo.png"}, ""},
		"MPL":              {map[string]string{"COPYING": "Mozilla Public License, version 2.0\n… the GNU General Public License, Version 2.0, …"}, ""},
		"unknown":          {map[string]string{"LICENSE": "Do what you want."}, "not known"},
		"a notice alone":   {map[string]string{"NOTICE": mit}, "not known"},
		"GPL":              {map[string]string{"COPYING": "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007"}, "the terms GPL in COPYING"},
		"AGPL beside MIT":  {map[string]string{"LICENSE": mit, "LICENSE.server": "GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3"}, "the terms AGPL in LICENSE.server"},
		"MIT with a catch": {map[string]string{"LICENSE": mit + "\n\n\"Commons Clause\" License Condition v1.0"}, "the terms Commons Clause"},
	} {
		var files []file
		for name, text := range c.files {
			files = append(files, file{name: licenceFolder + "/example.com/x/" + name, content: []byte(text)})
		}
		_, err := kindsOf("example.com/x", files)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
