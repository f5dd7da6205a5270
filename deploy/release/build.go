package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// versionVar is what a build stamps with the release's name.
const versionVar = "github.com/postrider/postrider/internal/app.version"

// make makes a platform's archive and bill of materials and returns their names.
func (p *plan) make(ctx context.Context, goos, goarch string) ([]string, error) {
	dir, err := os.MkdirTemp("", "postrider-release-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the programs: %w", err)
	}
	defer os.RemoveAll(dir)
	programs, infos, err := p.build(ctx, dir, goos, goarch)
	if err != nil {
		return nil, err
	}
	modules := modulesOf(infos)
	licences, err := p.licences(ctx, modules)
	if err != nil {
		return nil, err
	}
	bill, err := p.bill(modules, infos[0].GoVersion, goos, goarch)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("postrider-%s-%s-%s", p.version, goos, goarch)
	files := slices.Concat(p.files, programs, licences, []file{{name: "sbom.cdx.json", content: bill}})
	archive, err := pack(name, p.at, files)
	if err != nil {
		return nil, err
	}
	made := map[string][]byte{name + ".tar.gz": archive, name + ".cdx.json": bill}
	for file, content := range made {
		if err := os.WriteFile(filepath.Join(p.out, file), content, 0o644); err != nil {
			return nil, fmt.Errorf("writing the release: %w", err)
		}
	}
	return []string{name + ".tar.gz", name + ".cdx.json"}, nil
}

// build builds the programs in dir and returns them with what Go knows of each.
func (p *plan) build(ctx context.Context, dir, goos, goarch string) (programs []file, infos []*debug.BuildInfo, err error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -buildid= -X "+versionVar+"="+p.version, "-o", dir+string(filepath.Separator), "./cmd/...")
	cmd.Dir = p.root
	// What this machine has set otherwise must not show.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOFLAGS=",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("listing the programs: %w", err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, nil, fmt.Errorf("reading a program: %w", err)
		}
		info, err := buildinfo.Read(bytes.NewReader(content))
		if err != nil {
			return nil, nil, fmt.Errorf("reading what %s was built from: %w", e.Name(), err)
		}
		programs = append(programs, file{name: "bin/" + e.Name(), content: content, program: true})
		infos = append(infos, info)
	}
	if len(infos) == 0 {
		return nil, nil, fmt.Errorf("building the programs: there are none in ./cmd")
	}
	return programs, infos, nil
}

// modulesOf lists the modules that any of the programs was built from, by path.
func modulesOf(infos []*debug.BuildInfo) []*debug.Module {
	var all []*debug.Module
	for _, info := range infos {
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *debug.Module) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(all, func(a, b *debug.Module) bool { return a.Path == b.Path })
}

// writeSums writes what `sha256sum -c SHA256SUMS` checks.
func writeSums(dir string, names []string) error {
	var sums strings.Builder
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("summing up the release: %w", err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), name)
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644); err != nil {
		return fmt.Errorf("writing the checksums: %w", err)
	}
	return nil
}
