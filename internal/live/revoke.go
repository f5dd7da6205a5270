package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/inbox"
)

// revocation is of tokens that are no longer good although they have not
// expired: all that a user was given until now, or one.
type revocation struct {
	User    string `json:"user,omitempty"`
	TokenID string `json:"token_id,omitempty"` // the claim jti
}

// revocationKept is how long a revocation is remembered: tokens are to live
// shorter.
const revocationKept = 30 * 24 * time.Hour

func revokedUserKey(user string) string { return "postrider:live:revoked:user:" + user }
func revokedTokenKey(id string) string  { return "postrider:live:revoked:token:" + id }

// RevokeUser ends a user's connections, in all processes, and has the tokens
// refused that the user was given until now, to the second, when they are
// brought again. It is remembered for 30 days, in Redis alone.
func (p *Publisher) RevokeUser(ctx context.Context, user string) error {
	return p.revoke(ctx, revocation{User: user}, revokedUserKey(user), time.Now().Unix())
}

// RevokeToken does so with one token, by its claim jti.
func (p *Publisher) RevokeToken(ctx context.Context, id string) error {
	return p.revoke(ctx, revocation{TokenID: id}, revokedTokenKey(id), 1)
}

func (p *Publisher) revoke(ctx context.Context, r revocation, key string, value int64) error {
	if err := p.redis.Set(ctx, key, value, revocationKept).Err(); err != nil {
		return fmt.Errorf("noting a revocation: %w", err)
	}
	return p.send(ctx, envelope{Revoked: &r})
}

// IsRevoked tells whether a token was revoked. One that does not say when it was
// issued counts as issued before. The error is Redis'.
func (p *Publisher) IsRevoked(ctx context.Context, user auth.Identity) (bool, error) {
	pipe := p.redis.Pipeline()
	byUser := pipe.Get(ctx, revokedUserKey(user.ID))
	byToken := pipe.Exists(ctx, revokedTokenKey(user.TokenID))
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return false, fmt.Errorf("looking for revocations: %w", err)
	}
	if user.TokenID != "" && byToken.Val() > 0 {
		return true, nil
	}
	if byUser.Val() == "" {
		return false, nil
	}
	at, err := strconv.ParseInt(byUser.Val(), 10, 64)
	if err != nil {
		return false, fmt.Errorf("reading a revocation: %w", err)
	}
	return user.Issued.IsZero() || user.Issued.Unix() <= at, nil
}

// revoked ends the connections of this process that have a revoked token.
func (h *Hub) revoked(r revocation) {
	if r.User != "" {
		for _, k := range h.sockets.To(inbox.Of(r.User)).Sockets() {
			expire(k, "revoked")
		}
	}
	if r.TokenID == "" {
		return
	}
	for _, k := range h.sockets.To().Sockets() {
		if m := memberOf(k); m != nil && m.user.TokenID == r.TokenID {
			expire(k, "revoked")
		}
	}
}
