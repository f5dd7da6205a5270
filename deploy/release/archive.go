package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// file is one of an archive.
type file struct {
	name    string // within the archive's folder, with slashes
	content []byte
	program bool // may be run
}

// pack makes a .tar.gz of the files in the folder name. Nothing but names,
// content and the time goes in: neither owners nor the machine's order.
func pack(name string, at time.Time, files []file) ([]byte, error) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, f := range files {
		mode := int64(0o644)
		if f.program {
			mode = 0o755
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(name, f.name), Mode: mode,
			Size: int64(len(f.content)), ModTime: at, Format: tar.FormatPAX,
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing the archive: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("packing the archive: %w", err)
	}
	return out.Bytes(), nil
}

// given are the files and folders of the repository that a release has.
var given = []string{"LICENSE", "README.md", "CHANGELOG.md", "docs", "deploy", "clients"}

// chart is the file that says which image the Helm chart runs unless it is told:
// the release's own.
const chart = "deploy/helm/postrider/Chart.yaml"

// common reads what goes into all archives: of the repository what git knows,
// but for Go and tests, which need the rest of it; and what was built into web.
func (p *plan) common(ctx context.Context) ([]file, error) {
	listed, err := p.git(ctx, append([]string{"ls-files", "--"}, given...)...)
	if err != nil {
		return nil, err
	}
	var out []file
	for name := range strings.Lines(listed) {
		name = strings.TrimSpace(name)
		if ext := path.Ext(name); ext == ".go" || strings.HasPrefix(name, "deploy/charttest/") || strings.Contains(name, "test/") ||
			strings.Contains(name, "testdata/") || path.Base(name) == ".gitkeep" {
			continue
		}
		f, err := p.read(name)
		if err != nil {
			return nil, err
		}
		if name == chart {
			f.content = bytes.Replace(f.content, []byte("appVersion: dev\n"), []byte("appVersion: "+strconv.Quote(p.version)+"\n"), 1)
		}
		out = append(out, f)
	}
	err = filepath.WalkDir(filepath.Join(p.root, "web"), func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(p.root, at)
		if err != nil {
			return err
		}
		f, err := p.read(filepath.ToSlash(name))
		out = append(out, f)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("reading what was built for browsers: %w", err)
	}
	return out, nil
}

// read is a file of the repository.
func (p *plan) read(name string) (file, error) {
	at := filepath.Join(p.root, filepath.FromSlash(name))
	info, err := os.Stat(at)
	if err != nil {
		return file{}, fmt.Errorf("reading a file of the release: %w", err)
	}
	content, err := os.ReadFile(at)
	if err != nil {
		return file{}, fmt.Errorf("reading a file of the release: %w", err)
	}
	return file{name: name, content: content, program: info.Mode()&0o100 != 0}, nil
}
