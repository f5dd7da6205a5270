package dashboard

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/tasks"
)

const (
	// maxMarked bounds the form that names entries of a page, in bytes.
	maxMarked = 128 << 10
	// maxList bounds a list to import, in bytes; the API takes larger ones.
	maxList = 8 << 20
	// importLimit bounds the time that one takes.
	importLimit = 25 * time.Second
)

// suppressionCommand carries out what the list's page was asked for.
func (d *Dashboard) suppressionCommand(w http.ResponseWriter, r *http.Request) {
	if !userOf(r).Admin() {
		d.refuse(w, r, errViewer)
		return
	}
	switch r.PathValue("command") {
	case "add":
		d.addSuppression(w, r)
	case "remove":
		d.removeSuppressions(w, r)
	case "preview":
		d.previewSuppressions(w, r)
	case "import":
		d.importSuppressions(w, r)
	default:
		d.refuse(w, r, job.Errorf(job.CodeNotFound, "there is no such command"))
	}
}

// didSuppress notes an act and goes back to the page it came from.
func (d *Dashboard) didSuppress(w http.ResponseWriter, r *http.Request, act string, n int, back string) {
	d.log.Info("a user acted on the suppressions", "user", userOf(r).Name, "command", act, "entries", n)
	at, err := url.Parse(back)
	if err != nil || localPath(back) != back || at.Path != suppressionRoot {
		at = &url.URL{Path: suppressionRoot}
	}
	v := at.Query()
	for name := range acts {
		v.Del(name)
	}
	v.Set(act, strconv.Itoa(n))
	at.RawQuery = v.Encode()
	http.Redirect(w, r, at.String(), http.StatusSeeOther)
}

func (d *Dashboard) addSuppression(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxMarked)
	field := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	s := mail.Suppression{
		Address: field("address"), Category: field("category"), Reason: mail.Reason(field("reason")), Note: field("note"), Actor: actor(userOf(r)),
	}
	form := s
	var err error
	if s.Address, err = mail.Normalise(s.Address); err != nil {
		err = errors.New("this is not a mail address")
	} else {
		err = s.Check()
	}
	if err != nil {
		d.showSuppressions(w, r, http.StatusUnprocessableEntity, suppressionsView{Form: form, Problem: "Not added: " + err.Error() + "."})
		return
	}
	doing := d.act(w, r, audit.SuppressionAdd, s.Address)
	doing.Detail = strings.TrimSpace(string(s.Reason) + " " + s.Category)
	if err := d.Audit.Do(r.Context(), doing, func(ctx context.Context) error { return d.Suppressions.Suppress(ctx, s) }); err != nil {
		d.refuse(w, r, err)
		return
	}
	d.didSuppress(w, r, "added", 1, suppressionRoot)
}

// removeSuppressions removes one entry, "only", or those that are marked.
func (d *Dashboard) removeSuppressions(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxMarked)
	if err := r.ParseForm(); err != nil {
		d.refuse(w, r, job.Errorf(job.CodeInvalid, "the form cannot be read"))
		return
	}
	names := r.PostForm["entry"]
	if only := r.PostForm.Get("only"); only != "" {
		names = []string{only}
	}
	var chosen []mail.SuppressionFilter
	for _, name := range names {
		f, err := readEntry(name)
		if err != nil {
			d.refuse(w, r, err)
			return
		}
		chosen = append(chosen, f)
	}
	removed := 0
	for _, f := range chosen {
		doing := d.act(w, r, audit.SuppressionRemove, f.Address)
		doing.Detail, doing.Count = strings.TrimSpace(string(f.Reason)+" "+f.Category), 0
		var gone []mail.Suppression
		err := d.Audit.Do(r.Context(), doing, func(ctx context.Context) (err error) {
			gone, err = d.Suppressions.Unsuppress(ctx, f)
			return err
		})
		if err != nil {
			d.refuse(w, r, err)
			return
		}
		removed += len(gone)
	}
	d.didSuppress(w, r, "removed", removed, r.PostForm.Get("back"))
}

// importView is what a list would do.
type importView struct {
	File  string        // its name
	Lines int           // that are good
	New   int           // entries that there are not yet
	Bad   tasks.Invalid // the first of them
	List  string        // base64; for the form that imports it
}

// Known is how many good lines say what is on the list, or in the file, already.
func (v importView) Known() int { return v.Lines - v.New }

// BadLines is how many lines are not.
func (v importView) BadLines() string {
	if len(v.Bad) > suppress.MaxTold { // the last tells how many more
		return fmt.Sprintf("more than %d", suppress.MaxTold)
	}
	return strconv.Itoa(len(v.Bad))
}

// previewSuppressions reads an uploaded list and says what it would do. The list
// comes back with the page: no process has to remember it.
func (d *Dashboard) previewSuppressions(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), importLimit)
	defer cancel()
	patient(w)
	if err := readUpload(w, r); err != nil {
		d.refuse(w, r, err)
		return
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	file, header, err := r.FormFile("file")
	if err != nil {
		d.refuse(w, r, job.Errorf(job.CodeInvalid, "choose a file first"))
		return
	}
	defer func() { _ = file.Close() }()
	list, err := io.ReadAll(file) // it is in memory
	if err != nil {
		d.refuse(w, r, job.Errorf(job.CodeInvalid, "the file did not come whole"))
		return
	}
	v := importView{File: header.Filename}
	all, err := suppress.ReadCSV(bytes.NewReader(list), actor(userOf(r)))
	if err != nil && !errors.As(err, &v.Bad) {
		d.refuse(w, r, err)
		return
	}
	v.Lines = len(all)
	if v.New, err = suppress.Unknown(ctx, d.Suppressions, all); err != nil {
		d.refuse(w, r, err)
		return
	}
	status := http.StatusOK
	if len(v.Bad) > 0 {
		status = http.StatusUnprocessableEntity
	} else {
		v.List = base64.StdEncoding.EncodeToString(list)
	}
	d.render(w, r, status, "import.html", "Import suppressions", v)
}

// importSuppressions imports the list that a preview showed.
func (d *Dashboard) importSuppressions(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), importLimit)
	defer cancel()
	patient(w)
	if err := readUpload(w, r); err != nil {
		d.refuse(w, r, err)
		return
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	list, err := base64.StdEncoding.DecodeString(r.PostFormValue("list"))
	if err != nil {
		d.refuse(w, r, job.Errorf(job.CodeInvalid, "the list did not come whole"))
		return
	}
	all, err := suppress.ReadCSV(bytes.NewReader(list), actor(userOf(r)))
	if err != nil {
		d.refuse(w, r, job.Invalid(err))
		return
	}
	doing := d.act(w, r, audit.SuppressionImport, "")
	doing.Count = len(all)
	if err := d.Audit.Do(ctx, doing, func(ctx context.Context) error { return d.Suppressions.Suppress(ctx, all...) }); err != nil {
		d.refuse(w, r, err)
		return
	}
	d.didSuppress(w, r, "imported", len(all), suppressionRoot)
}

// readUpload reads a form with a list in it into memory.
func readUpload(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxList/3*4+maxMarked) // in base64 a third more
	err := r.ParseMultipartForm(2 * maxList)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return job.Errorf(job.CodeInvalid, "the list has more than %d MiB: import it over the API, in parts", maxList>>20)
	case err != nil:
		return job.Errorf(job.CodeInvalid, "the form cannot be read")
	}
	return nil
}

// patient gives a long answer the time that one of its steps has; a writer
// without a deadline needs none.
func patient(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * importLimit))
}
