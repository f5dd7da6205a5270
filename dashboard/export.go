package dashboard

import (
	"encoding/csv"
	"net/http"
	"strconv"
	"time"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/sheet"
)

// exportColumns head the file.
var exportColumns = []string{
	"id", "type", "recipient", "subject", "template", "category", "state", "verdict", "answer", "attempts", "reply_code", "accepted_by", "accepted_at", "finished_at",
}

// exportDeliveries gives the mails of a search as CSV (RFC 4180), as they are
// read from the database, delivery.MaxExport at most. Viewers get addresses
// masked and no subjects.
func (d *Dashboard) exportDeliveries(w http.ResponseWriter, r *http.Request) {
	_, q, id, err := readSearch(r)
	if err == nil && id != "" {
		http.Redirect(w, r, deliveryPath(id), http.StatusSeeOther)
		return
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	user := userOf(r)
	out := csv.NewWriter(w)
	begun := false
	begin := func() error {
		begun = true
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="deliveries.csv"`)
		return out.Write(exportColumns)
	}
	err = d.Deliveries.Export(r.Context(), q, func(t delivery.Told) error {
		if !begun {
			if err := begin(); err != nil {
				return err
			}
		}
		subject := t.Subject
		if !user.Admin() {
			subject = ""
		}
		row := []string{
			string(t.ID), t.Type, shown(user, t.Recipient), subject, t.Template, t.Category, t.Status, string(t.Answer.Verdict),
			shown(user, t.Answer.Text), strconv.Itoa(t.Attempts), strconv.Itoa(t.ReplyCode), shown(user, t.AcceptedBy), stamp(t.CreatedAt), stamp(t.FinishedAt),
		}
		for i := range row {
			row[i] = sheet.Guarded(row[i])
		}
		return out.Write(row)
	})
	switch {
	case err != nil && !begun:
		d.refuse(w, r, err)
		return
	case err != nil:
		d.log.Warn("an export ended early", "err", err)
		panic(http.ErrAbortHandler) // what is there must not look whole
	case !begun:
		_ = begin() // an empty file with its head; who left needs none
	}
	out.Flush()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
