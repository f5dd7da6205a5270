package limit

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/go-chi/chi/v5/middleware"
)

// ClientAddr is the address whose budget a request draws on, as chi's
// middleware found it behind the trusted proxies. One host commonly has a /64
// of IPv6 to itself (RFC 6177), so that is what counts. A request whose address
// cannot be told, since a proxy forwarded nothing that can be read, draws on
// its proxy's.
func ClientAddr(r *http.Request) string {
	addr := middleware.GetClientIPAddr(r.Context())
	if !addr.IsValid() {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		addr, _ = netip.ParseAddr(host)
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
