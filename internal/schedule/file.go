package schedule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the timetable file, in bytes.
const maxFile = 4 << 20

// fileForm is the timetable file.
type fileForm struct {
	Schedules []fileEntry `yaml:"schedules"`
}

// fileEntry is a schedule in it. The names are the API's.
type fileEntry struct {
	Name        string  `yaml:"name"`
	Type        string  `yaml:"type"`
	Payload     any     `yaml:"payload"`
	Queue       string  `yaml:"queue"`
	Cron        string  `yaml:"cron"`
	TimeZone    string  `yaml:"time_zone"`
	Missed      Missed  `yaml:"missed"`
	MissedLimit int     `yaml:"missed_limit"`
	Overlap     Overlap `yaml:"overlap"`
	Paused      bool    `yaml:"paused"`
}

// readFile reads a timetable file. An error names the line.
func readFile(path string) ([]Seed, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the timetable: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the timetable: %w", err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("the timetable %s is larger than %d bytes", path, maxFile)
	}
	return readYAML(filepath.Base(path), raw)
}

func readYAML(file string, raw []byte) ([]Seed, error) {
	var form fileForm
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	switch err := dec.Decode(&form); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s is empty: want the field schedules", file)
	case err != nil:
		return nil, fmt.Errorf("%s: %s", file, plainly(err))
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document", file)
	}
	lines, err := entryLines(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", file, plainly(err))
	}
	var out []Seed
	var errs []error
	first := map[string]string{}
	for i, e := range form.Schedules {
		seed, err := e.seed()
		seed.Where = fmt.Sprintf("%s, line %d", file, lines[i])
		if where, twice := first[e.Name]; twice && err == nil {
			err = fmt.Errorf("has its name in common with the one at %s", where)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: schedule %q: %w", seed.Where, e.Name, err))
		}
		first[e.Name] = seed.Where
		out = append(out, seed)
	}
	return out, errors.Join(errs...)
}

func (e fileEntry) seed() (Seed, error) {
	s := Seed{Source: FromFile, Paused: e.Paused, Definition: Definition{
		Name: e.Name, Type: e.Type, Queue: e.Queue, Cron: e.Cron, TimeZone: e.TimeZone,
		Missed: e.Missed, MissedLimit: e.MissedLimit, Overlap: e.Overlap,
	}}
	if e.Payload == nil {
		return s, nil
	}
	payload, err := json.Marshal(e.Payload)
	if err != nil {
		return s, errors.New("payload must have names that are strings")
	}
	s.Payload = payload
	return s, nil
}

// entryLines tells on which line each schedule begins.
func entryLines(raw []byte) ([]int, error) {
	var nodes struct {
		Schedules []yaml.Node `yaml:"schedules"`
	}
	if err := yaml.Unmarshal(raw, &nodes); err != nil {
		return nil, err
	}
	lines := make([]int, len(nodes.Schedules))
	for i := range nodes.Schedules {
		lines[i] = nodes.Schedules[i].Line
		if nodes.Schedules[i].Tag == "!!null" { // which the decoder passes over
			return nil, fmt.Errorf("line %d: the schedule is empty", lines[i])
		}
	}
	return lines, nil
}

// words takes the Go types out of the parser's words.
var words = strings.NewReplacer(
	"yaml: ", "", "unmarshal errors:\n  ", "", "\n  ", "; ",
	" in type schedule.fileForm", "", " in type schedule.fileEntry", "",
	"[]schedule.fileEntry", "a list of schedules", "schedule.fileEntry", "a schedule", "schedule.fileForm", "a timetable",
)

func plainly(err error) string { return words.Replace(err.Error()) }
