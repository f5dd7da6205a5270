package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/live"
)

// revocations notes what was revoked; ann alone is connected.
type revocations struct {
	noted []string
	err   error
}

var annSince = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func (r *revocations) Connections(context.Context) (live.Connections, error) {
	return live.Connections{Connections: 2, Users: 1, Rooms: 3, Processes: []live.ProcessConnections{{Name: "api-1", Connections: 2, Users: 1, Rooms: 3}}}, r.err
}

func (r *revocations) UserConnections(_ context.Context, user string) (int, time.Time, error) {
	if user != "ann/1" {
		return 0, time.Time{}, r.err
	}
	return 2, annSince, r.err
}

func (r *revocations) RevokeUser(_ context.Context, user string) error {
	r.noted = append(r.noted, "user "+user)
	return r.err
}

func (r *revocations) RevokeToken(_ context.Context, id string) error {
	r.noted = append(r.noted, "token "+id)
	return r.err
}

func (r *revocations) IsRevoked(_ context.Context, user auth.Identity) (bool, error) {
	return slices.Contains(r.noted, "user "+user.ID), r.err
}

// A token that was revoked opens nothing any more, and while that cannot be told
// no token does; keys go on.
func TestRevokedTokenOverHTTP(t *testing.T) {
	revoked := &revocations{}
	s := serve(t, withKeys(t), withTokens(t), func(o *Options) { o.Live = revoked })
	const boss, count = "boss-secret-000000", "/api/notifications/ann/unread-count"
	token := "Bearer " + tokenOf(t, "ann", nil)
	s.call(http.MethodGet, count, "", "Authorization", token).want(http.StatusOK)
	s.call(http.MethodDelete, "/live/users/ann/tokens", "", "X-API-Key", boss).want(http.StatusNoContent)
	a := s.call(http.MethodGet, count, "", "Authorization", token).want(http.StatusUnauthorized)
	if strings.Contains(a.text, "revoked") {
		t.Errorf("a stranger is told: %s", a.text)
	}
	s.call(http.MethodGet, "/api/notifications/ben/unread-count", "", "Authorization", "Bearer "+tokenOf(t, "ben", nil)).want(http.StatusOK)
	revoked.err = errors.New("redis is away")
	s.call(http.MethodGet, "/api/notifications/ben/unread-count", "", "Authorization", "Bearer "+tokenOf(t, "ben", nil)).want(http.StatusServiceUnavailable)
	s.call(http.MethodGet, count, "", "X-API-Key", boss).want(http.StatusOK)
}

func TestRevoke(t *testing.T) {
	revoked := &revocations{}
	s := serve(t, withKeys(t), func(o *Options) { o.Live = revoked })
	const boss, writer = "boss-secret-000000", "writer-secret-0000"
	s.call(http.MethodDelete, "/live/users/ann%2F1/tokens", "", "X-API-Key", boss).want(http.StatusNoContent)
	s.call(http.MethodDelete, "/live/tokens/t-1", "", "X-API-Key", boss).want(http.StatusNoContent)
	s.call(http.MethodDelete, "/live/tokens/t-2", "", "X-API-Key", writer).want(http.StatusForbidden)
	if want := []string{"user ann/1", "token t-1"}; !slices.Equal(revoked.noted, want) {
		t.Errorf("revoked %q, want %q", revoked.noted, want)
	}
	revoked.err = errors.New("redis is away")
	s.call(http.MethodDelete, "/live/tokens/t-1", "", "X-API-Key", boss).want(http.StatusServiceUnavailable)
}

func TestWhoIsConnected(t *testing.T) {
	known := &revocations{}
	s := serve(t, withKeys(t), func(o *Options) { o.Live = known })
	const boss, reader = "boss-secret-000000", "reader-secret-0000"
	for path, want := range map[string]string{
		"/live":               `{"connections":2,"users":1,"rooms":3,"processes":[{"name":"api-1","connections":2,"users":1,"rooms":3}]}`,
		"/live/users/ann%2F1": `{"userId":"ann/1","connected":true,"connections":2,"since":"2026-07-01T12:00:00.000Z"}`,
		"/live/users/bob":     `{"userId":"bob","connected":false,"connections":0}`,
	} {
		if got := s.call(http.MethodGet, path, "", "X-API-Key", boss).want(http.StatusOK); strings.TrimSpace(got.text) != want {
			t.Errorf("%s: %s", path, got.text)
		}
		s.call(http.MethodGet, path, "", "X-API-Key", reader).want(http.StatusForbidden)
	}
	known.err = errors.New("redis is away")
	s.call(http.MethodGet, "/live", "", "X-API-Key", boss).want(http.StatusServiceUnavailable)
}
