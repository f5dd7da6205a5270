// Package secretfile reads files that hold secrets, by one rule: who besides the
// owner can write the file could put another secret in its place, so it is
// refused; that everybody can read it is worth a warning, no more, since in
// containers mounted secrets are 0644 and nobody else is there.
package secretfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Rights of others than the owner.
const (
	writable fs.FileMode = 0o022 // by group or others
	readable fs.FileMode = 0o004 // by others
)

// Read returns the file's content, of at most that many bytes, and a warning for
// the operator; "" for none.
func Read(file string, most int64) (text []byte, warning string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, "", err // which names the file
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", fmt.Errorf("looking at %s: %w", file, err)
	}
	mode := info.Mode().Perm()
	if mode&writable != 0 && info.Mode().IsRegular() {
		return nil, "", fmt.Errorf("the file %s can be written by others than its owner (mode %04o): chmod 600, or 640", file, mode)
	}
	if mode&readable != 0 && info.Mode().IsRegular() {
		warning = fmt.Sprintf("the file %s can be read by every user of this machine (mode %04o): chmod 600 or 640, unless there are no others", file, mode)
	}
	text, err = io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("reading %s: %w", file, err)
	case int64(len(text)) > most:
		return nil, "", fmt.Errorf("%s has more than %d bytes", file, most)
	}
	return text, warning, nil
}
