// Command release makes what is given away of a release: for each platform an
// archive with the four programs, the files to run them with, the documentation
// and all licences; a bill of materials (CycloneDX) of each; and checksums.
// `make release` runs it from the root of the repository.
//
// The same commit makes the same bytes, on any machine with the same Go and
// from any folder: nothing of the machine or of the time goes in. The files are
// those that git knows, and of web/ what `make clients` has left there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := release(ctx, os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "release:", err)
		return 1
	}
	return 0
}

// platforms are those that a release is made for, as GOOS/GOARCH.
const platforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64"

// plan is one release.
type plan struct {
	root    string // of the repository
	out     string // folder of what is made
	version string
	at      time.Time // of all files within
	files   []file    // that go into each archive, but for those of a platform
}

// release makes the archives that the flags ask for and tells of each on w.
func release(ctx context.Context, args []string, w io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	root := flags.String("root", ".", "root of the repository")
	out := flags.String("out", "dist", "folder for what is made")
	version := flags.String("version", "", "the release's name; what git describe says when empty")
	which := flags.String("platforms", platforms, "GOOS/GOARCH with commas between")
	licences := flags.Bool("licences", false, "print the kinds of licences of all modules in the programs, and make nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	p := plan{root: *root, out: *out, version: *version}
	if *licences {
		return p.listLicences(ctx, w)
	}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	var made []string
	for platform := range strings.SplitSeq(*which, ",") {
		goos, goarch, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("%q is not of the form GOOS/GOARCH", platform)
		}
		names, err := p.make(ctx, goos, goarch)
		if err != nil {
			return fmt.Errorf("making the release for %s: %w", platform, err)
		}
		made = append(made, names...)
		fmt.Fprintf(w, "%s/%s\n", p.out, names[0])
	}
	return writeSums(p.out, made)
}

// prepare finds out what all platforms have in common.
func (p *plan) prepare(ctx context.Context) (err error) {
	if p.version == "" {
		if p.version, err = p.git(ctx, "describe", "--tags", "--always", "--dirty"); err != nil {
			return err
		}
	}
	if strings.ContainsAny(p.version, "/ '\"") {
		return fmt.Errorf("%q cannot be a version", p.version)
	}
	// SOURCE_DATE_EPOCH is how distributions name the time of a reproducible
	// build (reproducible-builds.org/specs/source-date-epoch).
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		if epoch, err = p.git(ctx, "log", "-1", "--format=%ct"); err != nil {
			return err
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("reading the time of the release: %w", err)
	}
	p.at = time.Unix(seconds, 0).UTC()
	if p.files, err = p.common(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return fmt.Errorf("making the folder for the release: %w", err)
	}
	return nil
}

// git runs git in the repository and returns what it prints.
func (p *plan) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = p.root
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking git %s: %w", strings.Join(args, " "), withStderr(err))
	}
	return strings.TrimSpace(string(out)), nil
}

// withStderr adds what a command said to its exit code.
func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
