package app

import "runtime/debug"

// version is stamped by the linker where a release or an image is built.
var version string

// Version is the release that the program is of, or what Go knows of the commit
// that it was built from, or (devel).
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
