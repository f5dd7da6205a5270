// Package config fills the structs that other packages declare from the
// environment, and tells an operator what came of it.
//
// A setting is a struct field with tags: env (the variable's name), envDefault,
// help (words for the documentation) and secret:"true". Sections are nested
// structs, each owned by the package that uses it; one that has a method
// Validate() error is checked after it was filled. A type with a format of its
// own implements encoding.TextUnmarshaler. A variable that is set to the empty
// string counts as not set.
package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

// prefix begins the names that are ours alone: one that no setting knows is a
// mistake worth a warning.
const prefix = "POSTRIDER_"

// fileSuffix makes the name of the variable that holds a secret's file.
const fileSuffix = "_FILE"

// Validator is a section that checks itself. Its error names the variable at
// fault and never holds a secret.
type Validator interface {
	Validate() error
}

// Report tells what Load found.
type Report struct {
	// Warnings are for the operator, one sentence each.
	Warnings []string

	settings []setting
}

// Load fills the struct that dst points to from environ (as os.Environ gives
// it) and validates it. defaults, by variable, stand in for those of the tags:
// a program's own; it may be nil. Every secret NAME can instead be given as NAME_FILE, a
// file whose content it is, less one newline at its end.
//
// The error joins all that is wrong, each part naming its variable; the report
// is there all the same, so that it can be shown. Only for a dst that is no
// well-formed settings struct, a programmer's mistake, is there none.
func Load(dst any, environ []string, defaults map[string]string) (*Report, error) {
	root, err := walk(dst)
	if err != nil {
		return nil, err
	}
	values := env.ToMap(environ)
	root.override(defaults)
	report := &Report{}
	err = root.load(values, &report.settings)
	report.Warnings = unknown(report.settings, values)
	return report, err
}

// override puts defaults in place of those of the tags.
func (s *section) override(defaults map[string]string) {
	for i := range s.settings {
		if v, ok := defaults[s.settings[i].name]; ok {
			s.settings[i].fallback = v
		}
	}
	for _, inner := range s.sections {
		inner.override(defaults)
	}
}

// load fills a section and the ones inside it, then validates it if all of it
// could be read: a complaint about a value that was not read would mislead.
func (s *section) load(values map[string]string, settings *[]setting) error {
	var errs []error
	for i := range s.settings {
		if err := s.settings[i].load(values); err != nil {
			errs = append(errs, err)
		}
		*settings = append(*settings, s.settings[i])
	}
	for _, inner := range s.sections {
		if err := inner.load(values, settings); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if v, ok := s.value.Addr().Interface().(Validator); ok {
		return v.Validate()
	}
	return nil
}

// unknown returns a warning for each variable that bears our prefix but is no
// setting of ours.
func unknown(settings []setting, values map[string]string) []string {
	var known []string
	for _, s := range settings {
		known = append(known, s.name)
		if s.secret {
			known = append(known, s.name+fileSuffix)
		}
	}
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(name, prefix) || slices.Contains(known, name) {
			continue
		}
		warning := fmt.Sprintf("%s is not a setting and has no effect", name)
		if near := nearest(name, known); near != "" {
			warning += "; is " + near + " meant?"
		}
		warnings = append(warnings, warning)
	}
	return warnings
}
