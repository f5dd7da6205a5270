package secretfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/secretfile"
)

func TestRights(t *testing.T) {
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o640: "", 0o400: "", 0o440: "", 0o644: "read by every user", 0o444: "read by every user",
		0o660: "written by others", 0o666: "written by others", 0o602: "written by others",
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte("hunter2"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		text, warning, err := secretfile.Read(file, 100)
		refused := strings.HasPrefix(want, "written")
		said := warning
		if err != nil {
			said = err.Error()
		}
		if refused != (err != nil) || !refused && string(text) != "hunter2" || want == "" && said != "" || !strings.Contains(said, want) {
			t.Errorf("%04o: %q, %q, %v", mode, text, warning, err)
		}
		if _, _, err := secretfile.Read(file, 3); err == nil {
			t.Errorf("%04o: more than allowed is read", mode)
		}
	}
	if _, _, err := secretfile.Read("/nowhere", 1); err == nil {
		t.Error("what is not there is read")
	}
}
