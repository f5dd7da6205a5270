package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
)

// MadeKeys is what the routes of API keys need; *apikey.Service has it.
type MadeKeys interface {
	Create(ctx context.Context, k apikey.Key, who auth.Principal) (made apikey.Key, secret string, err error)
	Revoke(ctx context.Context, name, actor string) error
	List(ctx context.Context) ([]apikey.Key, error)
}

// keyRoutes declares the operations on API keys.
func (a *api) keyRoutes() {
	errs := []int{401, 403, 422, 429, 500, 503}
	tagged := func(op huma.Operation, errs []int) huma.Operation {
		op.Tags = []string{"keys"}
		return operation(op, auth.Admin, errs)
	}
	huma.Register(a.huma, tagged(huma.Operation{
		OperationID: "list-keys", Method: http.MethodGet, Path: "/keys", Summary: "List API keys",
		Description: "Those of POSTRIDER_API_KEYS first, then those that were made, by name. Secrets are not kept, and so not shown.",
	}, errs), handled(a, a.listKeys))

	create := tagged(huma.Operation{
		OperationID: "create-key", Method: http.MethodPost, Path: "/keys", Summary: "Create an API key", DefaultStatus: http.StatusCreated,
		Description: "Its secret is in this answer and nowhere else: where the answer is lost, revoke the key and create another. " +
			"A key gives no scope that it has not itself. A name that is taken, also by a key of POSTRIDER_API_KEYS, is a 409; " +
			"so is an API that is open because POSTRIDER_API_KEYS is not set, which a first key neither closes nor protects. " +
			"Rate limits and quotas are by the key's name, as for those that are set.",
	}, append([]int{400, 408, 409, 413, 415}, errs...))
	a.withBody(&create, maxBody)
	huma.Register(a.huma, create, handled(a, a.createKey))
	a.describeBody(create, a.keyBody.schema, keyExamples)

	huma.Register(a.huma, tagged(huma.Operation{
		OperationID: "revoke-key", Method: http.MethodDelete, Path: "/keys/{name}", Summary: "Revoke an API key", DefaultStatus: http.StatusNoContent,
		Description: "This process refuses it at once and every other within a second; what it has asked for before goes on. " +
			"The name is free again. One of POSTRIDER_API_KEYS is a 409.",
	}, append([]int{404, 409}, errs...)), handled(a, a.revokeKey))
}

var keyExamples = map[string]*huma.Example{
	"sender": {Summary: "A shop that sends", Value: object{"name": "shop", "scopes": []string{"jobs:write", "jobs:read"}}},
	"short":  {Summary: "For an afternoon", Value: object{"name": "migration", "scopes": []string{"schedules:write"}, "expires_at": "2030-07-01T18:00:00Z"}},
}

// keyRequest is the body of POST /keys.
type keyRequest struct {
	Name      string       `json:"name" example:"shop" doc:"1 to 64 letters, digits, dots, underscores or hyphens, of no other key"`
	Scopes    []auth.Scope `json:"scopes" enum:"jobs:write,jobs:read,schedules:write,notifications,admin" doc:"what it may do; admin is all"`
	ExpiresAt *time.Time   `json:"expires_at,omitempty" doc:"from when on it is refused; never when left out"`
}

// keyView is an API key as the API shows it.
type keyView struct {
	Name       string       `json:"name" example:"shop"`
	Scopes     []auth.Scope `json:"scopes" nullable:"false"`
	Source     string       `json:"source" enum:"settings,made" doc:"settings: of POSTRIDER_API_KEYS"`
	Hint       string       `json:"hint,omitempty" example:"pr_x2Kf9" doc:"how its secret begins"`
	CreatedAt  stamp        `json:"created_at,omitzero"`
	CreatedBy  string       `json:"created_by,omitempty" doc:"the API key or user that made it"`
	ExpiresAt  stamp        `json:"expires_at,omitzero" doc:"missing where it never does"`
	Expired    bool         `json:"expired"`
	Secret     string       `json:"secret,omitempty" example:"pr_…" doc:"the key itself; only in the answer that creates it"`
	LastUsedAt stamp        `json:"last_used_at,omitzero" doc:"to the minute; missing where it was not used yet, and of those of the settings"`
}

func showKey(k apikey.Key) keyView {
	return keyView{
		Name: k.Name, Scopes: k.Scopes, Source: "made", Hint: k.Hint, CreatedAt: stamp{k.CreatedAt}, CreatedBy: k.CreatedBy,
		ExpiresAt: stamp{k.ExpiresAt}, Expired: k.Expired, LastUsedAt: stamp{k.LastUsedAt},
	}
}

type keysAnswer struct {
	Body struct {
		Keys []keyView `json:"keys" nullable:"false"`
	}
}

func (a *api) listKeys(ctx context.Context, _ *struct{}) (*keysAnswer, error) {
	made, err := a.madeKeys.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &keysAnswer{}
	out.Body.Keys = []keyView{}
	for _, k := range a.callers.Keys.Set() {
		out.Body.Keys = append(out.Body.Keys, keyView{Name: k.Name, Scopes: k.Scopes, Source: "settings"})
	}
	for _, k := range made {
		out.Body.Keys = append(out.Body.Keys, showKey(k))
	}
	return out, nil
}

type keyCreated struct {
	Location string `header:"Location" doc:"where it is revoked"`
	Body     keyView
}

func (a *api) createKey(ctx context.Context, in *bodyInput) (*keyCreated, error) {
	body, err := a.keyBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	k := apikey.Key{Name: body.Name, Scopes: body.Scopes}
	if body.ExpiresAt != nil {
		k.ExpiresAt = *body.ExpiresAt
	}
	who, _ := auth.From(ctx)
	out := &keyCreated{Location: "/keys/" + url.PathEscape(k.Name)}
	doing := act(ctx, audit.KeyCreate, k.Name)
	doing.Detail = k.May()
	err = a.audit.Do(ctx, doing, func(ctx context.Context) error {
		made, secret, err := a.madeKeys.Create(ctx, k, who)
		out.Body = showKey(made)
		out.Body.Secret = secret
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// keyInput is the request of DELETE /keys/{name}.
type keyInput struct {
	Name string `path:"name" doc:"the key"`
}

func (a *api) revokeKey(ctx context.Context, in *keyInput) (*struct{}, error) {
	who, _ := auth.From(ctx)
	return nil, a.audit.Do(ctx, act(ctx, audit.KeyRevoke, in.Name), func(ctx context.Context) error {
		return a.madeKeys.Revoke(ctx, in.Name, who.Name)
	})
}
