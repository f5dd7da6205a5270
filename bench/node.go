package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// installNode returns Node's path, with the packages that the peers need there,
// at the versions of peers/package-lock.json.
func installNode(ctx context.Context, log io.Writer) (string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return "", errors.New("node is not installed here")
	}
	lock, err := os.Stat(filepath.Join("peers", "package-lock.json"))
	if err != nil {
		return "", fmt.Errorf("the bench has to be started in its folder: %w", err)
	}
	// npm writes this file last.
	if there, err := os.Stat(filepath.Join("peers", "node_modules", ".package-lock.json")); err == nil && there.ModTime().After(lock.ModTime()) {
		return node, nil
	}
	fmt.Fprintln(log, "installing the peers' packages: npm install")
	npm := exec.CommandContext(ctx, "npm", "install", "--no-save", "--no-audit", "--no-fund")
	npm.Dir = "peers"
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install: %w: %s", err, out)
	}
	return node, nil
}

// lockedVersions names packages with the versions of peers/package-lock.json.
func lockedVersions(names ...string) []string {
	var lock struct {
		Packages map[string]struct{ Version string }
	}
	text, err := os.ReadFile(filepath.Join("peers", "package-lock.json"))
	if err == nil {
		err = json.Unmarshal(text, &lock)
	}
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name + " unknown"
		if err == nil {
			out[i] = name + " " + lock.Packages["node_modules/"+name].Version
		}
	}
	return out
}
