package httpapi

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/job"
)

// ownOriginOnly refuses requests that change something and come from a page of
// another origin, but for those that CORS allows. With API keys a page cannot
// send any, since they travel in headers of their own; where the API is open, a
// form that posts to a known path, such as a schedule's pause, would do.
func (a *api) ownOriginOnly(allowed Origins) (func(huma.Context, func(huma.Context)), error) {
	protection := http.NewCrossOriginProtection()
	for _, origin := range allowed {
		if origin == "*" {
			break
		}
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("reading POSTRIDER_CORS_ORIGINS: %w", err)
		}
	}
	all := slices.Contains(allowed, "*")
	return func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humachi.Unwrap(ctx)
		if err := protection.Check(r); err != nil && !all {
			a.refuse(ctx, job.Wrap(job.CodeForbidden, err, "without API keys a page of another origin may not change anything here, unless it is one of POSTRIDER_CORS_ORIGINS"))
			return
		}
		next(ctx)
	}, nil
}
