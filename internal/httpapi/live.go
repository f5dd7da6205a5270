package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/live"
)

// Live knows who is connected, and which tokens are no longer good: a
// *live.Publisher.
type Live interface {
	Connections(ctx context.Context) (live.Connections, error)
	// UserConnections tells how many a user has, and since when there is one.
	UserConnections(ctx context.Context, user string) (n int, since time.Time, err error)
	// RevokeUser is of all tokens that the user was given until now.
	RevokeUser(ctx context.Context, user string) error
	// RevokeToken is of the token that has this as its claim jti.
	RevokeToken(ctx context.Context, id string) error
	// IsRevoked tells whether the token that a user brought is one of these.
	IsRevoked(ctx context.Context, user auth.Identity) (bool, error)
}

// redisAway words an error of Live, all of which are Redis'.
func redisAway(err error) error {
	if err == nil {
		return nil
	}
	return job.Wrap(job.CodeTemporary, err, "Redis, which keeps this, cannot be asked now")
}

type connectionsView struct {
	Connections int                       `json:"connections" doc:"of users; a page that is open is one, or several share one"`
	Users       int                       `json:"users" doc:"who have any"`
	Rooms       int                       `json:"rooms" doc:"that somebody has entered"`
	Processes   []live.ProcessConnections `json:"processes" nullable:"false" doc:"what each api process has of these; a user or a room of several processes counts with each"`
}

type userConnectionsView struct {
	UserID      string `json:"userId" example:"42"`
	Connected   bool   `json:"connected"`
	Connections int    `json:"connections"`
	Since       *stamp `json:"since,omitempty" doc:"when the oldest of these began"`
}

// liveRoutes declares the operations on who is connected.
func (a *api) liveRoutes() {
	errs := []int{401, 403, 422, 429, 500, 503}
	show := func(id, path, summary, description string) huma.Operation {
		return operation(huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Description: description, Tags: []string{"live"},
		}, auth.Notifications, errs)
	}
	huma.Register(a.huma, show("count-connections", "/live", "Count who is connected",
		"Over all api processes. The numbers are a few seconds old at most; a process that was killed is counted for ten seconds more."),
		handled(a, func(ctx context.Context, _ *struct{}) (*struct{ Body connectionsView }, error) {
			c, err := a.live.Connections(ctx)
			return &struct{ Body connectionsView }{connectionsView(c)}, redisAway(err)
		}))
	huma.Register(a.huma, show("show-user-connections", "/live/users/{userId}", "Show whether a user is connected", "To any api process."),
		handled(a, func(ctx context.Context, in *struct {
			User string `path:"userId" maxLength:"128" example:"42" doc:"the user's id"`
		}) (*struct{ Body userConnectionsView }, error) {
			n, since, err := a.live.UserConnections(ctx, in.User)
			view := userConnectionsView{UserID: in.User, Connected: n > 0, Connections: n}
			if n > 0 {
				view.Since = &stamp{since}
			}
			return &struct{ Body userConnectionsView }{view}, redisAway(err)
		}))
	a.revokeRoutes(errs)
}

// revokeRoutes declares the operations on tokens of the application's users.
func (a *api) revokeRoutes(errs []int) {
	revoke := func(id, path, summary string) huma.Operation {
		return operation(huma.Operation{
			OperationID: id, Method: http.MethodDelete, Path: path, Summary: summary, Tags: []string{"live"}, DefaultStatus: http.StatusNoContent,
			Description: "Live connections that were opened with it end, on all processes, and it is refused from now on, by these and over HTTP; that is remembered for 30 days.",
		}, auth.Admin, errs)
	}
	huma.Register(a.huma, revoke("revoke-user", "/live/users/{userId}/tokens", "Revoke the tokens that a user was given until now"),
		handled(a, func(ctx context.Context, in *struct {
			User string `path:"userId" maxLength:"128" doc:"the user's id"`
		}) (*struct{}, error) {
			return nil, a.audit.Steps(ctx, act(ctx, audit.TokenRevoke, "user:"+in.User), audit.One(func(ctx context.Context) error {
				return redisAway(a.live.RevokeUser(ctx, in.User))
			}))
		}))
	huma.Register(a.huma, revoke("revoke-token", "/live/tokens/{tokenId}", "Revoke a token"),
		handled(a, func(ctx context.Context, in *struct {
			ID string `path:"tokenId" maxLength:"256" doc:"the token's claim jti"`
		}) (*struct{}, error) {
			return nil, a.audit.Steps(ctx, act(ctx, audit.TokenRevoke, in.ID), audit.One(func(ctx context.Context) error {
				return redisAway(a.live.RevokeToken(ctx, in.ID))
			}))
		}))
}
