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

// mountBuilt adds what npm has built.
func (a *App) mountBuilt(mounts map[string]http.Handler) {
	clients := httpapi.Built{Dir: a.cfg.HTTP.WebDir, Target: "clients"}
	for _, name := range socketIOFiles {
		mounts["/socket.io/"+name] = clients
	}
	mounts["/clients/js/*"] = clients
}
