package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/auth"
)

// Revoker ends live connections whose tokens are no longer good: a
// *live.Publisher.
type Revoker interface {
	// RevokeUser is of all tokens that the user was given until now.
	RevokeUser(ctx context.Context, user string) error
	// RevokeToken is of the token that has this as its claim jti.
	RevokeToken(ctx context.Context, id string) error
}

// revokeRoutes declares the operations on tokens of the application's users.
func (a *api) revokeRoutes() {
	errs := []int{401, 403, 422, 429, 500, 503}
	revoke := func(id, path, summary string) huma.Operation {
		return operation(huma.Operation{
			OperationID: id, Method: http.MethodDelete, Path: path, Summary: summary, Tags: []string{"live"}, DefaultStatus: http.StatusNoContent,
			Description: "Live connections that were opened with it end, on all processes, and are not let in with it again; that is remembered for 30 days. " +
				"Requests over HTTP go on taking it until it expires.",
		}, auth.Admin, errs)
	}
	huma.Register(a.huma, revoke("revoke-user", "/live/users/{userId}/tokens", "Revoke the tokens that a user was given until now"),
		handled(a, func(ctx context.Context, in *struct {
			User string `path:"userId" maxLength:"128" doc:"the user's id"`
		}) (*struct{}, error) {
			return nil, a.revoker.RevokeUser(ctx, in.User)
		}))
	huma.Register(a.huma, revoke("revoke-token", "/live/tokens/{tokenId}", "Revoke a token"),
		handled(a, func(ctx context.Context, in *struct {
			ID string `path:"tokenId" maxLength:"256" doc:"the token's claim jti"`
		}) (*struct{}, error) {
			return nil, a.revoker.RevokeToken(ctx, in.ID)
		}))
}
