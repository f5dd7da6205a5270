package auth

import (
	"net/netip"
	"net/url"
	"strings"
)

// LocalHost reports whether a request's Host header names this machine. What is
// served without a login listens on loopback only, but a page in a browser
// there reaches it as its own origin once the page's domain resolves to
// 127.0.0.1 (DNS rebinding); what gives it away is the Host header.
func LocalHost(hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname()
	ip, _ := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || ip.Unmap().IsLoopback()
}
