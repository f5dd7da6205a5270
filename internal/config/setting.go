package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/postrider/postrider/internal/secretfile"
)

// section is a struct of settings and further sections.
type section struct {
	value    reflect.Value // the struct, addressable
	settings []setting
	sections []*section
}

// setting is one variable.
type setting struct {
	name, fallback, help string
	secret               bool

	field reflect.StructField
	value reflect.Value

	raw    string // the effective text; "" means not set
	source string // where raw comes from
}

// walk lists the settings of the struct that dst points to.
func walk(dst any) (*section, error) {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("reading settings into %T: want a pointer to a struct", dst)
	}
	return walkSection(v.Elem(), map[string]bool{})
}

func walkSection(v reflect.Value, seen map[string]bool) (*section, error) {
	s := &section{value: v}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name := field.Tag.Get("env")
		switch {
		case name != "":
			help := field.Tag.Get("help")
			if help == "" {
				return nil, fmt.Errorf("reading settings: %s.%s (%s) lacks a help tag", v.Type(), field.Name, name)
			}
			if seen[name] {
				return nil, fmt.Errorf("reading settings: %s is declared twice, the second time by %s.%s", name, v.Type(), field.Name)
			}
			seen[name] = true
			s.settings = append(s.settings, setting{
				name: name, fallback: field.Tag.Get("envDefault"), help: help,
				secret: field.Tag.Get("secret") == "true",
				field:  field, value: v.Field(i),
			})
		case field.Type.Kind() == reflect.Struct:
			inner, err := walkSection(v.Field(i), seen)
			if err != nil {
				return nil, err
			}
			s.sections = append(s.sections, inner)
		}
	}
	return s, nil
}

// load finds the setting's text and parses it into its field.
func (s *setting) load(values map[string]string) error {
	if err := s.find(values); err != nil || s.raw == "" {
		return err
	}
	return s.parse()
}

// find takes the text from the variable, the secret's file or the default.
func (s *setting) find(values map[string]string) error {
	file := ""
	if s.secret {
		file = values[s.name+fileSuffix]
	}
	switch direct := values[s.name]; {
	case direct != "" && file != "":
		return fmt.Errorf("%s and %s%s are both set: keep one", s.name, s.name, fileSuffix)
	case direct != "":
		s.raw, s.source = direct, "environment"
	case file != "":
		// Not its warning: what orchestrators mount, everybody in there may read.
		b, _, err := secretfile.Read(file, maxSecret)
		if err != nil {
			return fmt.Errorf("%s%s: reading the secret: %w", s.name, fileSuffix, err)
		}
		s.raw, s.source = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), file
		if s.raw == "" {
			return fmt.Errorf("%s%s: the file %s is empty", s.name, fileSuffix, file)
		}
	default:
		s.raw, s.source = s.fallback, "default"
	}
	return nil
}

// maxSecret bounds a secret's file, which could be anything.
const maxSecret = 1 << 20

// parse converts the text to the field's type. The library's error names the
// struct's field, which an operator has never heard of, and not the variable:
// hence it is given one field at a time.
func (s *setting) parse() error {
	one := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: s.field.Name, Type: s.field.Type, Tag: s.field.Tag,
	}}))
	err := env.ParseWithOptions(one.Interface(), env.Options{Environment: map[string]string{s.name: s.raw}})
	if err != nil {
		return s.explain(err)
	}
	s.value.Set(one.Elem().Field(0))
	return nil
}

// explain turns the library's error into one for the operator: the variable,
// the text unless it is secret, and what is expected.
func (s *setting) explain(err error) error {
	var parse env.ParseError
	if errors.As(err, &parse) {
		err = parse.Err
	}
	if _, ok := reflect.New(s.field.Type).Interface().(encoding.TextUnmarshaler); ok {
		return fmt.Errorf("%s: %w", s.name, err) // the type's own words
	}
	shown := strconv.Quote(s.raw)
	if s.secret {
		shown = "the secret"
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s: %s is out of range", s.name, shown)
	}
	return fmt.Errorf("%s: %s is not %s", s.name, shown, expected(s.field.Type))
}

// expected names what a type takes.
func expected(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 500ms, 20s or 5m"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		return "a whole number"
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		return "a whole number of zero or more"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.Slice:
		return "a list with commas between, each " + expected(t.Elem())
	default:
		return "a " + t.String()
	}
}
