package app

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/httpapi"
)

// devSecretFile is where a development process keeps what it signs tokens with,
// so that pages that are open go on after a restart.
const devSecretFile = "dev-token-secret"

// minDevSecret is what auth.Config wants of a secret, in bytes.
const minDevSecret = 32

// openTokens makes what checks the tokens of users.
func (a *App) openTokens(mounts map[string]http.Handler) error {
	settings := a.cfg.Auth
	if a.signsForAnyone() {
		secret, err := devSecret(a.cfg.DataDir)
		if err != nil {
			return err
		}
		settings.JWTSecret = secret
		mounts["/dev/token"] = httpapi.DevToken(settings, a.cfg.HTTP.PublicURL, a.isAllowedPage)
	}
	a.tokens = auth.NewTokens(auth.TokenOptions{Config: settings, Fetch: a.asker.Get, Log: a.log})
	return nil
}

// signsForAnyone tells whether this process gives a token to whoever asks at
// /dev/token: a development process that was told nothing of tokens, whose API
// is open, and which therefore serves on loopback only.
func (a *App) signsForAnyone() bool {
	return a.role.CatchMail && a.keys.Open() && a.cfg.Auth.JWTSecret == "" && a.cfg.Auth.JWKSURL == "" &&
		httpapi.CheckExposure(a.cfg.HTTP.Addr, true) == nil
}

// devSecret returns the secret in dir, which it makes when there is none.
func devSecret(dir string) (string, error) {
	path := filepath.Join(dir, devSecretFile)
	text, err := os.ReadFile(path)
	if err == nil {
		secret := string(bytes.TrimSpace(text))
		if len(secret) < minDevSecret {
			return "", fmt.Errorf("reading the secret for tokens: %s is not as it was written; delete it", path)
		}
		return secret, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the secret for tokens: %w", err)
	}
	secret := rand.Text() + rand.Text() // 256 bits at least
	if err := writeSecret(dir, path, secret); err != nil {
		return "", fmt.Errorf("keeping the secret for tokens: %w", err)
	}
	return secret, nil
}

// writeSecret leaves a whole file or none, which its owner alone can read.
func writeSecret(dir, path, secret string) (err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, devSecretFile+"-*") // with 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(secret + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
