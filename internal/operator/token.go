package operator

import (
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/config"
)

type newToken struct {
	User  string        `required:"" help:"The user's id, such as ann."`
	Room  []string      `sep:"none" help:"A room that the user may enter; once for each."`
	Scope []string      `help:"What the user may do beyond (notify, broadcast); once for each."`
	For   time.Duration `default:"1h" help:"How long it is good, up to 720h."`
	JSON  bool          `name:"json" help:"Print JSON."`
}

func (n newToken) Run(c *call) error {
	var settings auth.Config
	if _, err := config.Load(&settings, c.Environ, nil); err != nil {
		return usageError{err}
	}
	if settings.JWKSURL != "" {
		return usagef("tokens are checked by the keys at POSTRIDER_JWKS_URL: only who holds their private halves can sign")
	}
	if settings.JWTSecret == "" {
		return usagef("POSTRIDER_JWT_SECRET is not set; of a postrider dev that runs without it, GET /dev/token?user=… gives a token")
	}
	token, who, err := settings.Sign(auth.Identity{ID: n.User, Rooms: n.Room, Scopes: n.Scope}, n.For)
	if err != nil {
		return usageError{err}
	}
	if n.JSON {
		return printJSON(c.Stdout, map[string]any{"token": token, "id": who.TokenID, "expires": who.Expires.UTC()})
	}
	fmt.Fprintln(c.Stdout, token)
	fmt.Fprintf(c.Stderr, "It is %s's until %s, unless it is revoked by its id, %s.\n", who.ID, who.Expires.Format(time.RFC3339), who.TokenID)
	return nil
}
