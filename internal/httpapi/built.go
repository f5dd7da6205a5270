package httpapi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Built serves files that npm has built, from a folder of POSTRIDER_WEB_DIR. It
// looks for them with each request, so that they may be built at any time.
type Built struct {
	Dir    string // POSTRIDER_WEB_DIR
	Target string // of make, which builds them: named to who asks before
	// Policy is the pages' Content-Security-Policy; none when empty.
	Policy string
}

// maxBuilt bounds a file, in bytes: each is read as a whole.
const maxBuilt = 4 << 20

// ServeHTTP answers with the file of the request's path within Dir; that of a
// folder is its index.html.
func (b Built) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		p := newProblem(http.StatusMethodNotAllowed, job.CodeInvalid, "this path does not know the method "+methodOf(r))
		p.header.Set("Allow", "GET, HEAD")
		p.write(w, r)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	text, err := b.read(name)
	switch {
	case errors.Is(err, errFolder) && !strings.HasSuffix(r.URL.Path, "/"):
		// Within this host, whatever the path begins with.
		http.Redirect(w, r, "/"+name+"/", http.StatusPermanentRedirect)
		return
	case errors.Is(err, errFolder):
		name += "/index.html"
		text, err = b.read(name)
	}
	if err != nil {
		newProblem(http.StatusNotFound, job.CodeNotFound, fmt.Sprintf("there is no such file: `make %s` builds those that there may be, by npm", b.Target)).write(w, r)
		return
	}
	h := w.Header()
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(text)))
	h.Set("Cache-Control", "no-cache") // kept, and asked after: names stay when contents change
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.HasSuffix(name, ".map") {
		h.Set("Content-Type", "application/json")
	}
	if b.Policy != "" {
		h.Set("Content-Security-Policy", b.Policy)
		h.Set("Referrer-Policy", "no-referrer")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
}

var errFolder = errors.New("a folder")

// read returns a file that is within Dir: neither the path nor a link leads out.
func (b Built) read(name string) ([]byte, error) {
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening POSTRIDER_WEB_DIR: %w", err)
	}
	defer func() { _ = root.Close() }()
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening a built file: %w", err)
	}
	defer func() { _ = f.Close() }()
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, fmt.Errorf("looking at a built file: %w", err)
	case info.IsDir():
		return nil, errFolder
	case !info.Mode().IsRegular() || info.Size() > maxBuilt:
		return nil, fs.ErrInvalid
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBuilt))
	if err != nil {
		return nil, fmt.Errorf("reading a built file: %w", err)
	}
	return text, nil
}
