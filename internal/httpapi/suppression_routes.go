package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/auth"
)

// suppressionRoutes declares the operations on the list of who gets no mail.
func (a *api) suppressionRoutes() {
	readErrors := []int{401, 403, 422, 429, 500, 503}
	changeErrors := append([]int{400, 404, 408, 413, 415}, readErrors...)
	tagged := func(op huma.Operation) huma.Operation {
		op.Tags = []string{"suppressions"}
		return op
	}

	huma.Register(a.huma, operation(tagged(huma.Operation{
		OperationID: "list-suppressions", Method: http.MethodGet, Path: "/suppressions", Summary: "List who gets no mail, newest first",
	}), auth.JobsRead, readErrors), handled(a, a.listSuppressions))

	put := operation(tagged(huma.Operation{
		OperationID: "suppress", Method: http.MethodPut, Path: "/suppressions/{address}", Summary: "Send an address no more mail",
		Description: "Or none of one category. Mails to it are accepted in the state suppressed, and those that wait become so when their time comes. " +
			"An essential mail goes out all the same where the reason is unsubscribe. There is one entry for each address, category and reason; all that there are for the address are answered.",
	}), auth.JobsWrite, changeErrors)
	a.withBody(&put, maxBody)
	huma.Register(a.huma, put, handled(a, a.suppress))
	a.describeBody(put, a.suppressBody.schema, suppressExample)

	huma.Register(a.huma, operation(tagged(huma.Operation{
		OperationID: "unsuppress", Method: http.MethodDelete, Path: "/suppressions/{address}", Summary: "Take an address off the list",
		Description: "All its entries, or those of the category and reason that are named. What was removed is answered; jobs that ended as suppressed stay so until they are retried.",
	}), auth.Admin, append([]int{404}, readErrors...)), handled(a, a.unsuppress))

	load := operation(tagged(huma.Operation{
		OperationID: "import-suppressions", Method: http.MethodPost, Path: "/suppressions/import", Summary: "Import a list as CSV",
		Description: "The first line names the columns: address, and any of category, reason (manual when left out) and note. Up to 100,000 lines and 16 MiB. " +
			"All lines are taken or none: a 422 names each bad line. To import a list again is safe.",
	}), auth.Admin, changeErrors)
	load.SkipValidateBody = true
	load.MaxBodyBytes = maxBatchBody + 1 // huma refuses a body that has just as many
	load.Middlewares = append(load.Middlewares, a.bufferCSV)
	huma.Register(a.huma, load, handled(a, a.importSuppressions))
	a.huma.OpenAPI().Paths[load.Path].Post.RequestBody = csvBody("address,category,reason,note\nuser@example.com,newsletter,unsubscribe,\n")

	export := operation(tagged(huma.Operation{
		OperationID: "export-suppressions", Method: http.MethodGet, Path: "/suppressions/export", Summary: "Export the list as CSV",
		Description: "It can be imported again. A cell that a spreadsheet would compute begins with an apostrophe. An answer that ends before its time is cut off.",
	}), auth.Admin, readErrors)
	export.Responses["200"] = &huma.Response{Description: "the list", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	export.Middlewares = append(export.Middlewares, unhurried)
	huma.Register(a.huma, export, a.exportSuppressions)
}

// csvBody describes a body.
func csvBody(example string) *huma.RequestBody {
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}, Example: example},
	}}
}

var suppressExample = map[string]*huma.Example{
	"all":      {Summary: "No mail at all", Value: object{"note": "asked for it on the phone"}},
	"category": {Summary: "No newsletter", Value: object{"category": "newsletter", "reason": "unsubscribe"}},
}
