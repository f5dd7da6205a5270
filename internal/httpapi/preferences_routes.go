package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/auth"
)

// preferencesRoutes declares the operations on what recipients prefer.
func (a *api) preferencesRoutes() {
	readErrors := []int{401, 403, 404, 422, 429, 500, 503}
	changeErrors := []int{401, 403, 404, 409, 412, 422, 429, 500, 503}
	tagged := func(op huma.Operation, scope auth.Scope, errs []int) huma.Operation {
		op.Path, op.Tags = "/recipients/{id}/preferences", []string{"recipients"}
		return operation(op, scope, errs)
	}

	find := tagged(huma.Operation{
		OperationID: "find-preferences", Method: http.MethodGet, Summary: "Show what a recipient prefers",
	}, auth.JobsRead, readErrors)
	alsoFor(&find, auth.JobsWrite)
	huma.Register(a.huma, find, handled(a, a.findPreferences))

	put := tagged(huma.Operation{
		OperationID: "put-preferences", Method: http.MethodPut, Summary: "Set what a recipient prefers, as a whole",
		Description: "What is left out has its default. Mails are found by their address, notifications by the user's id. " +
			"A category that is off suppresses its messages; one in a digest is gathered into one mail a window. " +
			"In quiet hours mails wait until those end, unless they are urgent. Essential categories come at any time. " +
			"An address that another recipient has is a 409. If-Match keeps one change from undoing another.",
	}, auth.JobsWrite, append([]int{400, 408, 413, 415}, changeErrors...))
	a.withBody(&put, maxBody)
	huma.Register(a.huma, put, handled(a, a.putPreferences))
	a.describeBody(put, a.preferencesBody.schema, preferencesExample)

	huma.Register(a.huma, tagged(huma.Operation{
		OperationID: "delete-preferences", Method: http.MethodDelete, Summary: "Forget what a recipient prefers", DefaultStatus: http.StatusNoContent,
		Description: "Everything reaches them again, each message on its own. What was gathered until now still goes out as a digest.",
	}, auth.JobsWrite, changeErrors), handled(a, a.deletePreferences))
}

var preferencesExample = map[string]*huma.Example{
	"calm": {Summary: "News once a day, nothing at night", Value: object{
		"address": "ann@example.com", "time_zone": "Europe/Berlin", "quiet_hours": object{"from": "22:00", "to": "08:00"},
		"categories": object{"news": "digest", "offers": "off"}, "digest": object{"window": "daily", "at": "08:00"},
	}},
}
