package suppress

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/sheet"
	"github.com/postrider/postrider/tasks"
)

// MaxLines bounds an import, MaxTold how many of its bad lines are named.
const (
	MaxLines = 100_000
	MaxTold  = 100
)

// imported are the columns that ReadCSV knows; of them only address must be
// there. More that WriteCSV writes are passed over, so that an export can be
// imported.
var imported = []string{"address", "category", "reason", "note"}

// exported are the columns that WriteCSV writes.
var exported = append(slices.Clone(imported), "actor", "job_id", "created_at")

// ReadCSV reads suppressions from CSV (RFC 4180) whose first line names the
// columns. A reason that is left out is mail.Manual. The error is a tasks.Invalid
// that names each bad line, counted from 1 with the first line, MaxTold of them
// at most; what the good ones say is then returned with it, as far as lines could
// be told apart.
func ReadCSV(r io.Reader, actor string) ([]mail.Suppression, error) {
	in := csv.NewReader(unmarked(r))
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return nil, tasks.Invalid{{Field: "line 1", Problem: "must name the columns: " + strings.Join(imported, ",")}}
	}
	column, err := columnsOf(header)
	if err != nil {
		return nil, err
	}
	var out []mail.Suppression
	var bad badLines
	for n := 0; ; n++ {
		record, err := in.Read()
		line := 0
		if len(record) > 0 {
			line, _ = in.FieldPos(0)
		}
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return out, bad.orNil()
		case errors.As(err, &broken) && !errors.Is(err, csv.ErrFieldCount):
			bad.add(broken.Line, "is not CSV: "+broken.Err.Error()) // what follows cannot be told apart
			return nil, bad.orNil()
		case err != nil && !errors.As(err, &broken):
			return nil, fmt.Errorf("reading CSV: %w", err)
		case n == MaxLines:
			bad.add(line, fmt.Sprintf("is one too many: the most are %d", MaxLines))
			return nil, bad.orNil()
		case err != nil:
			bad.add(broken.StartLine, "has another number of fields than the first line")
			continue
		}
		s, err := suppressionOf(record, column)
		if err != nil {
			bad.add(line, err.Error())
			continue
		}
		s.Actor = actor
		out = append(out, s)
	}
}

// unmarked passes over the mark that spreadsheets begin with. Behind it a quote
// would stand in the middle of a field.
func unmarked(r io.Reader) io.Reader {
	const mark = "\ufeff"
	b := bufio.NewReader(r)
	if begin, err := b.Peek(len(mark)); err == nil && string(begin) == mark {
		_, _ = b.Discard(len(mark)) // it is buffered
	}
	return b
}

// columnsOf says where each of the imported columns is; -1 for nowhere.
func columnsOf(header []string) (map[string]int, error) {
	column := map[string]int{}
	for _, name := range imported {
		column[name] = -1
	}
	var bad tasks.Invalid
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		place, known := column[name]
		switch {
		case known && place >= 0:
			bad.Add("line 1", "names the column "+name+" twice")
		case known:
			column[name] = i
		case !slices.Contains(exported, name):
			bad.Add("line 1", fmt.Sprintf("names as column %d what is none of %s", i+1, strings.Join(exported, ",")))
		}
	}
	if column["address"] < 0 {
		bad.Add("line 1", "must name a column address")
	}
	return column, bad.OrNil()
}

// erased is what stands for the address of a person who was erased: an export
// has it, and so an import must. Only the installation that made it knows it again.
var erased = regexp.MustCompile(`^` + mail.ErasedPrefix + `[0-9a-f]{64}$`)

// suppressionOf reads a line. Its error does not quote the address.
func suppressionOf(record []string, column map[string]int) (mail.Suppression, error) {
	field := func(name string) string {
		if i := column[name]; i >= 0 {
			return strings.TrimSpace(sheet.Unguarded(record[i]))
		}
		return ""
	}
	for _, text := range record {
		if !utf8.ValidString(text) {
			return mail.Suppression{}, errors.New("is not UTF-8")
		}
	}
	address := field("address")
	if !erased.MatchString(address) {
		var err error
		if address, err = mail.Normalise(address); err != nil {
			return mail.Suppression{}, errors.New("has an address that is none")
		}
	}
	s := mail.Suppression{
		Address: address, Category: field("category"), Reason: mail.Reason(field("reason")), Note: field("note"),
	}
	if s.Reason == "" {
		s.Reason = mail.Manual
	}
	return s, s.Check()
}

type badLines struct {
	told tasks.Invalid
	more int
}

func (b *badLines) add(line int, problem string) {
	if len(b.told) == MaxTold {
		b.more++
		return
	}
	b.told.Add(fmt.Sprintf("line %d", line), problem)
}

func (b *badLines) orNil() error {
	if b.more > 0 {
		b.told.Add("more", fmt.Sprintf("bad lines are %d", b.more))
	}
	return b.told.OrNil()
}

// CSV writes suppressions as ReadCSV reads them. No cell is a formula to a
// spreadsheet, whatever its text.
type CSV struct{ out *csv.Writer }

// NewCSV begins with the line that names the columns.
func NewCSV(w io.Writer) *CSV {
	out := csv.NewWriter(w)
	_ = out.Write(exported) // a csv.Writer keeps its error for Flush
	return &CSV{out}
}

// Write writes a line each. The error is w's.
func (c *CSV) Write(all []mail.Suppression) error {
	for _, s := range all {
		_ = c.out.Write([]string{
			sheet.Guarded(s.Address), s.Category, string(s.Reason), sheet.Guarded(s.Note), sheet.Guarded(s.Actor), s.Job, s.At.UTC().Format(time.RFC3339),
		})
	}
	c.out.Flush()
	if err := c.out.Error(); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}
