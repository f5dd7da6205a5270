package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/auth"
)

// Alerts knows what is wrong with the fleet; a *store.Alerts.
type Alerts interface {
	Alerts(ctx context.Context) ([]alert.Alert, error)
}

type alertView struct {
	Rule    alert.Rule `json:"rule" enum:"queue_age,failures,no_workers,missed_slots,provider_down,redis_down"`
	Subject string     `json:"subject,omitempty" example:"email" doc:"the queue or mail provider that it is about"`
	State   string     `json:"state" enum:"pending,firing,recovering" doc:"pending has not lasted long enough to be told; recovering is over, and not for long enough to be told"`
	Summary string     `json:"summary"`
	Since   stamp      `json:"since" doc:"that it is so"`
	FiredAt stamp      `json:"fired_at,omitzero" doc:"when people were told"`
}

type alertsAnswer struct {
	Body struct {
		Alerts []alertView `json:"alerts" nullable:"false" doc:"those that fire longest first"`
	}
}

// alertRoute declares the operation on alerts.
func (a *api) alertRoute() {
	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "list-alerts", Method: http.MethodGet, Path: "/alerts", Summary: "List what is wrong with the fleet", Tags: []string{"alerts"},
		Description: "As the schedulers see it, every few seconds; only where one of POSTRIDER_ALERT_WEBHOOK, POSTRIDER_ALERT_SLACK and POSTRIDER_ALERT_MAIL is set for them.",
	}, auth.Admin, []int{401, 403, 422, 429, 500, 503}), handled(a, func(ctx context.Context, _ *struct{}) (*alertsAnswer, error) {
		all, err := a.alerts.Alerts(ctx)
		if err != nil {
			return nil, err
		}
		out := &alertsAnswer{}
		out.Body.Alerts = make([]alertView, len(all))
		for i, x := range all {
			state := "pending"
			switch {
			case !x.ClearAt.IsZero():
				state = "recovering"
			case x.Firing():
				state = "firing"
			}
			out.Body.Alerts[i] = alertView{x.Rule, x.Subject, state, x.Summary, stamp{x.Since}, stamp{x.FiredAt}}
		}
		return out, nil
	}))
}
