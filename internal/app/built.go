package app

import (
	"net/http"

	"github.com/postrider/postrider/internal/httpapi"
)

// socketIOFiles are those of the official client that Socket.IO's own server
// serves, too.
var socketIOFiles = []string{
	"socket.io.js", "socket.io.js.map", "socket.io.min.js", "socket.io.min.js.map", "socket.io.esm.min.js", "socket.io.esm.min.js.map",
}

// examplesPolicy lets the examples load and call what is served here alone. The
// connection to /socket.io/ is 'self', too.
const examplesPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// mountBuilt adds what npm has built: the browser's clients, and where there is
// /dev/token, which they need, the examples.
func (a *App) mountBuilt(mounts map[string]http.Handler) {
	clients := httpapi.Built{Dir: a.cfg.HTTP.WebDir, Target: "clients"}
	for _, name := range socketIOFiles {
		mounts["/socket.io/"+name] = clients
	}
	mounts["/clients/js/*"] = clients
	if a.signsForAnyone() {
		examples := httpapi.Built{Dir: a.cfg.HTTP.WebDir, Target: "examples", Policy: examplesPolicy}
		mounts["/examples"], mounts["/examples/*"] = examples, examples
	}
}
