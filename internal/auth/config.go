package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Config holds who may call.
type Config struct {
	APIKeys        APIKeys `env:"POSTRIDER_API_KEYS" secret:"true" help:"who may call the API: name:secret:scope+scope,… with the scopes jobs:write jobs:read schedules:write notifications admin; without keys the API is open and serves on loopback only"`
	DashboardUsers Users   `env:"POSTRIDER_DASHBOARD_USERS" secret:"true" help:"who may use the dashboard: name:bcrypt-hash:admin or name:bcrypt-hash:viewer, with commas between; without users it is open and serves on loopback only"`
	JWTSecret      string  `env:"POSTRIDER_JWT_SECRET" secret:"true" help:"what the tokens of your application's users are signed with (HS256), 32 bytes at least; instead of POSTRIDER_JWKS_URL"`
	JWKSURL        string  `env:"POSTRIDER_JWKS_URL" help:"where the public keys are of who signs the tokens of your application's users (RS256, ES256 with P-256, EdDSA with Ed25519), such as https://example.com/.well-known/jwks.json; instead of POSTRIDER_JWT_SECRET"`
	JWTUserClaim   string  `env:"POSTRIDER_JWT_USER_CLAIM" envDefault:"sub" help:"the token's claim that holds the user's id: a string of up to 128 bytes, or a whole number"`
	JWTIssuer      string  `env:"POSTRIDER_JWT_ISSUER" help:"what a token must have as iss; any when unset"`
	JWTAudience    string  `env:"POSTRIDER_JWT_AUDIENCE" help:"what a token must have in aud; any when unset"`
}

// minJWTSecret is the least length of an HS256 key, in bytes (RFC 7518 section
// 3.2).
const minJWTSecret = 32

// Validate reports every setting that cannot work, by its variable's name.
func (c Config) Validate() error {
	var errs []error
	if c.JWTSecret != "" && len(c.JWTSecret) < minJWTSecret {
		errs = append(errs, fmt.Errorf("POSTRIDER_JWT_SECRET is shorter than %d bytes: a shorter one can be guessed from a token", minJWTSecret))
	}
	if c.JWTSecret != "" && c.JWKSURL != "" {
		errs = append(errs, errors.New("POSTRIDER_JWT_SECRET and POSTRIDER_JWKS_URL are both set: tokens are signed in one way only"))
	}
	if c.JWKSURL != "" && !safeURL(c.JWKSURL) {
		errs = append(errs, errors.New("POSTRIDER_JWKS_URL must begin with https://, or with http:// and a loopback address: whoever could change the answer on its way could make tokens"))
	}
	if (c.JWTSecret != "" || c.JWKSURL != "") && c.JWTUserClaim == "" {
		errs = append(errs, errors.New("POSTRIDER_JWT_USER_CLAIM must name a claim"))
	}
	return errors.Join(errs...)
}

// safeURL reports whether nobody between can change what is fetched from it.
func safeURL(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	local := ip.Unmap().IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
	return u.Scheme == "https" || u.Scheme == "http" && local
}
