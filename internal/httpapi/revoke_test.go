package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
)

// revocations notes what was revoked.
type revocations struct {
	noted []string
	err   error
}

func (r *revocations) RevokeUser(_ context.Context, user string) error {
	r.noted = append(r.noted, "user "+user)
	return r.err
}

func (r *revocations) RevokeToken(_ context.Context, id string) error {
	r.noted = append(r.noted, "token "+id)
	return r.err
}

func TestRevoke(t *testing.T) {
	revoked := &revocations{}
	s := serve(t, withKeys(t), func(o *Options) { o.Revoker = revoked })
	const boss, writer = "boss-secret-000000", "writer-secret-0000"
	s.call(http.MethodDelete, "/live/users/ann%2F1/tokens", "", "X-API-Key", boss).want(http.StatusNoContent)
	s.call(http.MethodDelete, "/live/tokens/t-1", "", "X-API-Key", boss).want(http.StatusNoContent)
	s.call(http.MethodDelete, "/live/tokens/t-2", "", "X-API-Key", writer).want(http.StatusForbidden)
	if want := []string{"user ann/1", "token t-1"}; !slices.Equal(revoked.noted, want) {
		t.Errorf("revoked %q, want %q", revoked.noted, want)
	}
	revoked.err = errors.New("redis is away")
	s.call(http.MethodDelete, "/live/tokens/t-1", "", "X-API-Key", boss).want(http.StatusInternalServerError)
}
