package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/auth"
)

// templateRoutes declares the operations on mail templates.
func (a *api) templateRoutes() {
	declare := func(op huma.Operation, errs ...int) huma.Operation {
		op.Tags = []string{"templates"}
		if op.Method == http.MethodGet {
			op.Middlewares = append(op.Middlewares, revalidated)
		}
		return operation(op, auth.JobsWrite, append([]int{401, 403, 422, 429, 500, 503}, errs...))
	}
	huma.Register(a.huma, declare(huma.Operation{
		OperationID: "list-templates", Method: http.MethodGet, Path: "/templates", Summary: "List the mail templates",
		Description: "Those that are built in and those of the directory POSTRIDER_TEMPLATES, with what is wrong with any.",
	}), handled(a, a.listTemplates))
	huma.Register(a.huma, declare(huma.Operation{
		OperationID: "find-template", Method: http.MethodGet, Path: "/templates/{name}", Summary: "Show a mail template with its files",
	}, 404), handled(a, a.findTemplate))

	preview := declare(huma.Operation{
		OperationID: "preview-template", Method: http.MethodPost, Path: "/templates/{name}/preview", Summary: "Show the mail that a template makes",
		Description: "Nothing is sent. What is wrong with the data is told as send-email would tell it.",
	}, 400, 404, 408, 413, 415)
	a.withBody(&preview, maxBody)
	huma.Register(a.huma, preview, handled(a, a.previewTemplate))
	a.describeBody(preview, a.previewBody.schema, previewExamples)
}
