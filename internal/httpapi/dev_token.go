package httpapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// devTokenLife is how long a token is good that a developer asks for: a day at
// work.
const devTokenLife = 12 * time.Hour

// devToken is what a developer, or a page under development, gets.
type devToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// DevToken answers GET ?user=ann&room=lobby&room=…&scope=notify with a token of
// that user, those rooms and those scopes, signed by the settings. It asks nobody who they are, and so is
// for a development process on loopback alone. mayAsk decides about the page
// that a request comes from: any site that a developer visits can send one.
func DevToken(settings auth.Config, publicURL string, mayAsk func(*http.Request) bool) http.Handler {
	return OnlyLocalHost(publicURL)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
		h.Set("Cross-Origin-Resource-Policy", "same-origin") // for requests that name no Origin, such as an image's
		if r.Method != http.MethodGet {
			p := newProblem(http.StatusMethodNotAllowed, job.CodeInvalid, "this path does not know the method "+methodOf(r))
			p.header.Set("Allow", http.MethodGet)
			p.write(w, r)
			return
		}
		if !mayAsk(r) {
			newProblem(http.StatusForbidden, job.CodeForbidden, "a page of another origin gets no token here, unless POSTRIDER_CORS_ORIGINS names its origin (* does not)").write(w, r)
			return
		}
		q := r.URL.Query()
		token, who, err := settings.Sign(auth.Identity{ID: q.Get("user"), Rooms: q["room"], Scopes: q["scope"]}, devTokenLife)
		if err != nil {
			newProblem(http.StatusUnprocessableEntity, job.CodeInvalid, err.Error()).write(w, r)
			return
		}
		h.Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(devToken{token, who.Expires.UTC()}) // a client that has gone is no matter
	}))
}
