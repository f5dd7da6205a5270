package audit

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/postrider/postrider/internal/sheet"
)

// exportPage is how many records are read at a time.
const exportPage = 1000

// View is a record as it is shown as JSON.
type View struct {
	Seq     int64  `json:"seq" doc:"rises with time; a record is written once and never changed"`
	At      string `json:"at" format:"date-time" example:"2026-11-22T22:30:00.123Z" doc:"by the database's clock"`
	Actor   string `json:"actor" example:"dashboard:ann" doc:"an API key's name, dashboard: and a user's name, or the hash of a token's user"`
	Address string `json:"address,omitempty" example:"192.0.2.7" doc:"that the request came from"`
	Action  Action `json:"action" example:"job.cancel"`
	Target  string `json:"target,omitempty" doc:"what it was done to; of people a keyed hash"`
	Count   int    `json:"count" doc:"how many it was done to"`
	Outcome string `json:"outcome" example:"done" doc:"done, an error's code, or begun: another record of the same act tells how that ended"`
	Detail  string `json:"detail,omitempty"`
	Act     string `json:"act" format:"uuid" doc:"that all records of one act have"`
	Request string `json:"request_id,omitempty"`
}

// Show is a record as it is shown.
func Show(r Record) View {
	return View{
		r.Seq, r.At.UTC().Format("2006-01-02T15:04:05.000Z07:00"), r.Actor, r.Address, r.Action, r.Target, r.Count, r.Outcome, r.Detail, r.ID, r.Request,
	}
}

// Format is that of an export.
type Format string

// The formats.
const (
	CSV    Format = "csv"    // RFC 4180, with a line that names the columns
	NDJSON Format = "ndjson" // a View a line
)

// ContentType is the format's.
func (f Format) ContentType() string {
	if f == CSV {
		return "text/csv; charset=utf-8"
	}
	return "application/x-ndjson"
}

// columns head the CSV, in the order of a View.
var columns = []string{"seq", "at", "actor", "address", "action", "target", "count", "outcome", "detail", "act", "request_id"}

// Export is the part of the audit that a filter chooses on its way out, newest
// first, a page at a time.
type Export struct {
	from   Store
	filter Filter
	page   []Record
}

// NewExport reads the first page, while a failure can still be told.
func NewExport(ctx context.Context, from Store, f Filter) (*Export, error) {
	f.Limit = exportPage
	page, err := from.List(ctx, f)
	return &Export{from, f, page}, err
}

// Write writes it, and calls before ahead of each page, which has the time that
// before gives it. The error is the database's: where w fails, there is nobody left
// to be told.
func (e *Export) Write(ctx context.Context, w io.Writer, as Format, before func()) (err error) {
	write := writeNDJSON
	if as == CSV {
		write = writeCSV
		if writeRows(w, [][]string{columns}) != nil {
			return nil
		}
	}
	for {
		before()
		if write(w, e.page) != nil || len(e.page) < exportPage {
			return nil
		}
		e.filter.Before = e.page[len(e.page)-1].Seq
		if e.page, err = e.from.List(ctx, e.filter); err != nil {
			return err
		}
	}
}

func writeNDJSON(w io.Writer, page []Record) error {
	out := json.NewEncoder(w)
	for _, r := range page {
		if err := out.Encode(Show(r)); err != nil {
			return fmt.Errorf("writing NDJSON: %w", err)
		}
	}
	return nil
}

func writeCSV(w io.Writer, page []Record) error {
	rows := make([][]string, len(page))
	for i, r := range page {
		v := Show(r)
		rows[i] = []string{
			strconv.FormatInt(v.Seq, 10), v.At, v.Actor, v.Address, string(v.Action), v.Target, strconv.Itoa(v.Count), v.Outcome, v.Detail, v.Act, v.Request,
		}
		for c := range rows[i] {
			rows[i][c] = sheet.Guarded(rows[i][c])
		}
	}
	return writeRows(w, rows)
}

func writeRows(w io.Writer, rows [][]string) error {
	if err := csv.NewWriter(w).WriteAll(rows); err != nil { // which flushes
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}

// FileName is what a browser is to call an export that is made now.
func (f Format) FileName(now time.Time) string {
	return "audit-" + now.UTC().Format("20060102-150405") + "." + string(f)
}
