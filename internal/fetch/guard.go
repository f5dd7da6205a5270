package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// ErrPrivate is the error of an address that is nobody's on the internet, and
// that POSTRIDER_FETCH_ALLOW does not name.
var ErrPrivate = errors.New("the address is not one of the internet, and POSTRIDER_FETCH_ALLOW does not name it")

// reserved are networks that netip's own questions leave out: those of special
// use that nobody is reached at over the internet, or that lead on to any other
// address (RFC 6890 and its registry at IANA).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carriers', and clouds' own services
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast
	netip.MustParsePrefix("::/96"),           // an IPv4 address within, given up
	netip.MustParsePrefix("64:ff9b::/96"),    // an IPv4 address within (NAT64)
	netip.MustParsePrefix("64:ff9b:1::/48"),  // likewise, of a network's own
	netip.MustParsePrefix("100::/64"),        // discarded
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo among them
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // an IPv4 address within (6to4)
	netip.MustParsePrefix("fec0::/10"),       // site-local, given up
}

// public reports whether an address may be anybody's on the internet: none of
// this machine or network, nor of a cloud's metadata service (169.254.169.254,
// fd00:ec2::254).
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// Networks is the parsed form of POSTRIDER_FETCH_ALLOW.
type Networks []netip.Prefix

// UnmarshalText reads addresses and CIDRs with commas between.
func (n *Networks) UnmarshalText(text []byte) error {
	var out Networks
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(entry)
		if addr, addrErr := netip.ParseAddr(entry); addrErr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() {
			return fmt.Errorf("%q is neither an IP address nor a CIDR such as 10.0.0.0/8", entry)
		}
		out = append(out, prefix.Masked())
	}
	*n = out
	return nil
}

func (n Networks) contain(ip netip.Addr) bool {
	for _, p := range n {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

type ownMachine struct{}

// saysLoopback notes in ctx that the URL itself names this machine. Whoever wrote
// that means it; what a name elsewhere resolves to, its owner decides.
func saysLoopback(ctx context.Context, u *url.URL) context.Context {
	ip, _ := netip.ParseAddr(u.Hostname())
	if strings.EqualFold(u.Hostname(), "localhost") || ip.Unmap().IsLoopback() {
		return context.WithValue(ctx, ownMachine{}, true)
	}
	return ctx
}

// guard is a net.Dialer's ControlContext: it sees each address that a name
// resolved to when it is about to be connected to, so that a name cannot be
// checked as one address and asked at another (DNS rebinding).
func (c *Client) guard(ctx context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("checking the address: %w", err)
	}
	ip := at.Addr().WithZone("").Unmap()
	own, _ := ctx.Value(ownMachine{}).(bool)
	if public(ip) || c.allow.contain(ip) || own && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s: %w", ip, ErrPrivate)
}

// withoutURL is net/http's error less the URL: a webhook's may hold its secret,
// in the path as Slack's does, or in the query.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
