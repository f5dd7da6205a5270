package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// bill is the bill of materials of the programs: every module that is in them,
// by its package URL, with the hash that go.sum holds it to.
func (p *plan) bill(modules []*debug.Module, goVersion, goos, goarch string) ([]byte, error) {
	const ours = "pkg:golang/github.com/postrider/postrider"
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: p.at.Format(time.RFC3339),
		Component: &cdx.Component{
			BOMRef: ours, Type: cdx.ComponentTypeApplication, Name: "postrider", Version: p.version,
			PackageURL: fmt.Sprintf("%s@%s?goarch=%s&goos=%s", ours, p.version, goarch, goos),
		},
	}
	version := strings.TrimPrefix(goVersion, "go")
	components := []cdx.Component{{
		BOMRef: "pkg:golang/std", Type: cdx.ComponentTypeLibrary, Name: "std", Version: version, PackageURL: "pkg:golang/std@" + version,
	}}
	needs := []string{"pkg:golang/std"}
	for _, m := range modules {
		sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
		if err != nil || len(sum) == 0 {
			return nil, fmt.Errorf("the module %s has the hash %q: %w", m.Path, m.Sum, errors.Join(err, errors.ErrUnsupported))
		}
		purl := "pkg:golang/" + m.Path + "@" + m.Version
		components = append(components, cdx.Component{
			BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl,
			// h1 is a SHA-256 over the module's files (Go modules reference, "go.sum files").
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}},
		})
		needs = append(needs, purl)
	}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: ours, Dependencies: &needs}}
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return nil, fmt.Errorf("writing the bill of materials: %w", err)
	}
	return out.Bytes(), nil
}

// licenceFile is how modules name their terms.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense|patents)([.-].*)?$`)

// licenceFolder is where an archive has the terms, by module.
const licenceFolder = "licenses"

// licences reads the terms of every module, Go's own among them. A module
// without any, or with some that are not allowed, may not be given away.
func (p *plan) licences(ctx context.Context, modules []*debug.Module) ([]file, error) {
	args := []string{"list", "-m", "-json"}
	for _, m := range modules {
		args = append(args, m.Path)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = p.root
	listed, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking where the modules are: %w", withStderr(err))
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("asking where Go is: %w", withStderr(err))
	}
	out, err := permitted("go", strings.TrimSpace(string(goroot)))
	if err != nil {
		return nil, err
	}
	for dec := json.NewDecoder(bytes.NewReader(listed)); ; {
		var m struct{ Path, Dir string }
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading where the modules are: %w", err)
		}
		found, err := permitted(m.Path, m.Dir)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
}

// permitted are the licence files in a module's folder, if their kinds are allowed.
func permitted(module, dir string) ([]file, error) {
	found, err := terms(module, dir)
	if err == nil {
		_, err = kindsOf(module, found)
	}
	return found, err
}

// terms are the licence files in a module's folder.
func terms(module, dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for the licence of %s: %w", module, err)
	}
	var out []file
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the licence of %s: %w", module, err)
		}
		out = append(out, file{name: path.Join(licenceFolder, module, e.Name()), content: content})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the module %s has no licence", module)
	}
	return out, nil
}
