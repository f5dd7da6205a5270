package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/tasks"
)

// storedFile is the answer to an upload.
type storedFile struct {
	ID          string `json:"id" example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" doc:"names the file in attachments: the SHA-256 of its content"`
	Size        int64  `json:"size" example:"10240" doc:"bytes"`
	ContentType string `json:"content_type" example:"application/pdf" doc:"used where an attachment names none"`
}

// formOverhead is what a form has around its file, in bytes.
const formOverhead = 64 << 10

// attachmentRoute declares the upload of files. Like those that make jobs it
// reads its body itself.
func (a *api) attachmentRoute() {
	schemas := a.huma.OpenAPI().Components.Schemas
	binary := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	op := operation(huma.Operation{
		OperationID: "store-attachment", Method: http.MethodPost, Path: "/attachments", Summary: "Store a file for mails to carry",
		Description: "The body is the file, with its media type as Content-Type, or a form with the file in its field \"file\". " +
			"The same content has the same id, and is stored once. " +
			"A file is kept as long as a mail needs it; one that none names is deleted a day after its last use, at the earliest.",
		DefaultStatus: http.StatusCreated,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"*/*": {Schema: binary},
			"multipart/form-data": {Schema: &huma.Schema{
				Type: huma.TypeObject, Required: []string{"file"}, Properties: map[string]*huma.Schema{"file": binary},
			}},
		}},
	}, auth.JobsWrite, []int{400, 401, 403, 408, 413, 415, 422, 429, 500, 503})
	op.Responses["201"] = &huma.Response{
		Description: http.StatusText(http.StatusCreated),
		Content:     map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[storedFile](), true, "")}},
	}
	a.huma.OpenAPI().AddOperation(&op)
	a.huma.Adapter().Handle(&op, a.huma.Middlewares().Handler(func(hc huma.Context) {
		r, w := humachi.Unwrap(hc)
		f, err := a.takeFile(w, r)
		if err != nil {
			a.refuse(hc, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = writeJSON(w, storedFile{f.ID, f.Size, f.ContentType}) // who cannot be told has gone
	}))
}

// takeFile reads a file out of the request and stores it.
func (a *api) takeFile(w http.ResponseWriter, r *http.Request) (attach.File, error) {
	if err := noQuery(r); err != nil {
		return attach.File{}, err
	}
	content, media, err := readFile(w, r, int64(a.files.MaxFile()))
	if err != nil {
		w.Header().Set("Connection", "close") // what is left of it will not be read
		return attach.File{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), handleTimeout)
	defer cancel()
	who, _ := auth.From(ctx)
	return a.files.Put(ctx, who.Name, media, content)
}

// readFile returns the file and what it says of its media type.
func readFile(w http.ResponseWriter, r *http.Request, most int64) (content []byte, media string, err error) {
	if err := checkEncoding(r.Header); err != nil {
		return nil, "", err
	}
	media = r.Header.Get("Content-Type")
	kind, params, err := mime.ParseMediaType(media)
	switch {
	case media != "" && err != nil:
		return nil, "", job.Invalid(tasks.Invalid{{Field: "content_type", Problem: "is not the media type of a file"}})
	case kind == "application/x-www-form-urlencoded":
		return nil, "", newProblem(http.StatusUnsupportedMediaType, job.CodeInvalid,
			"a form must be multipart/form-data (curl sends the other kind unless told: add -H 'Content-Type: …', or use -F file=@NAME)")
	case kind != "multipart/form-data":
		content, err = readBytes(w, r, most)
		return content, media, fileTooLarge(err, most)
	}
	body, err := readBytes(w, r, most+formOverhead)
	if err != nil {
		return nil, "", fileTooLarge(err, most)
	}
	return fileOf(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
}

// fileTooLarge names the field of a 413.
func fileTooLarge(err error, most int64) error {
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusRequestEntityTooLarge {
		p.Errors = []FieldProblem{{Field: "file", Message: fmt.Sprintf("is larger than %s", attach.Size(most))}}
	}
	return err
}

// fileOf finds the one file of a form. One more would be lost without a word.
func fileOf(form *multipart.Reader) (content []byte, media string, err error) {
	broken := func(err error) error {
		return newProblem(http.StatusBadRequest, job.CodeInvalid, "the body is not a form: "+err.Error())
	}
	part, err := form.NextPart()
	switch {
	case errors.Is(err, io.EOF):
		return nil, "", job.Invalid(tasks.Invalid{{Field: "file", Problem: "must be given"}})
	case err != nil:
		return nil, "", broken(err)
	case part.FormName() != "file":
		return nil, "", job.Invalid(tasks.Invalid{{Field: clipped(part.FormName()), Problem: "is not a field of this request"}})
	}
	if content, err = io.ReadAll(part); err != nil {
		return nil, "", broken(err)
	}
	media = part.Header.Get("Content-Type")
	switch more, err := form.NextPart(); {
	case errors.Is(err, io.EOF):
		return content, media, nil
	case err != nil:
		return nil, "", broken(err)
	case more.FormName() == "file":
		return nil, "", job.Invalid(tasks.Invalid{{Field: "file", Problem: "must be given once: each file is a request of its own"}})
	default:
		return nil, "", job.Invalid(tasks.Invalid{{Field: clipped(more.FormName()), Problem: "is not a field of this request"}})
	}
}
