package suppress

import (
	"context"
	"io"

	"github.com/postrider/postrider/internal/mail"
)

// exportPage is how many suppressions are read at a time.
const exportPage = 1000

// Export is a list on its way out as CSV, a page at a time.
type Export struct {
	list mail.Suppressions
	f    mail.SuppressionFilter
	page []mail.Suppression
}

// NewExport reads the first page of what the filter chooses, while a failure can
// still be told.
func NewExport(ctx context.Context, list mail.Suppressions, f mail.SuppressionFilter) (*Export, error) {
	f.Limit = exportPage
	page, err := list.List(ctx, f)
	return &Export{list, f, page}, err
}

// Write writes the list as CSV, and calls before ahead of each page, which has
// the time that before gives it. The error is the list's: where w fails, there is
// nobody left to be told.
func (e *Export) Write(ctx context.Context, w io.Writer, before func()) (err error) {
	out := NewCSV(w)
	for {
		before()
		if out.Write(e.page) != nil || len(e.page) < exportPage {
			return nil
		}
		e.f.Before = e.page[len(e.page)-1].Seq
		if e.page, err = e.list.List(ctx, e.f); err != nil {
			return err
		}
	}
}

// Unknown counts what of all the list does not have yet: to import that would
// add so many entries.
func Unknown(ctx context.Context, list mail.Suppressions, all []mail.Suppression) (int, error) {
	type entry struct {
		address, category string
		reason            mail.Reason
	}
	entryOf := func(s mail.Suppression) entry { return entry{s.Address, s.Category, s.Reason} }
	fresh := make(map[entry]bool, len(all))
	addresses := make([]string, len(all))
	for i, s := range all {
		fresh[entryOf(s)], addresses[i] = true, s.Address
	}
	known, err := list.Find(ctx, addresses...)
	if err != nil {
		return 0, err
	}
	for _, s := range known {
		delete(fresh, entryOf(s))
	}
	return len(fresh), nil
}
