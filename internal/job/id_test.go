package job_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/job"
)

func TestIDsMadeLaterSortLater(t *testing.T) {
	ids := make([]job.ID, 1000)
	for i := range ids {
		ids[i] = job.NewID()
	}
	if !slices.IsSorted(ids) {
		t.Error("ids are not in the order in which they were made")
	}
	if v := uuid.MustParse(string(ids[0])).Version(); v != 7 {
		t.Errorf("the version is %d, want 7", v)
	}
}

func TestPlus(t *testing.T) {
	base := job.ID("01890a5d-ac96-774b-bcce-b302099a8057")
	for _, c := range []struct {
		base job.ID
		i    int
		want job.ID
	}{
		{base, 0, base},
		{base, 1, "01890a5d-ac96-774b-bcce-b302099a8058"},
		{base, job.MaxBatch, "01890a5d-ac96-774b-bcce-b302099aa767"},
		// The 62 bits wrap, and the variant above them stays.
		{"01890a5d-ac96-774b-bfff-ffffffffffff", 1, "01890a5d-ac96-774b-8000-000000000000"},
	} {
		if got := c.base.Plus(c.i); got != c.want {
			t.Errorf("%s plus %d is %s, want %s", c.base, c.i, got, c.want)
		}
	}
	id := job.NewID()
	seen := map[job.ID]bool{}
	for i := range job.MaxBatch {
		next := id.Plus(i)
		u := uuid.MustParse(string(next))
		if seen[next] || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%s plus %d is %s", id, i, next)
		}
		seen[next] = true
	}
}

func TestParseID(t *testing.T) {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	for _, s := range []string{id, strings.ToUpper(id)} {
		if got, err := job.ParseID(s); got != id || err != nil {
			t.Errorf("%q is read as %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "1", "{" + id + "}", "urn:uuid:" + id, strings.ReplaceAll(id, "-", ""), id + "~2", id + " ",
		strings.Repeat("x", 100_000), "\x00", "zzzzzzzz-ac96-774b-bcce-b302099a8057",
	} {
		got, err := job.ParseID(s)
		if job.CodeOf(err) != job.CodeNotFound || got != "" {
			t.Errorf("%.50q is read as %q, %v", s, got, err)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("the error repeats %d bytes of input", len(err.Error()))
		}
	}
}

func TestTaskID(t *testing.T) {
	id := job.NewID()
	for _, dispatch := range []int{1, 2, 10, 123456} {
		name := job.Task{ID: id, Dispatch: dispatch}.TaskID()
		gotID, got, err := job.ParseTaskID(name)
		if gotID != id || got != dispatch || err != nil {
			t.Errorf("dispatch %d is named %s and read as %s, %d, %v", dispatch, name, gotID, got, err)
		}
	}
	if name := (job.Task{ID: id}).TaskID(); name != string(id) {
		t.Errorf("an ephemeral task is named %s, want its id %s", name, id)
	}
	for _, s := range []string{"", "~2", "x~2", string(id) + "~", string(id) + "~1", string(id) + "~0", string(id) + "~-2", string(id) + "~02", string(id) + "~2~3", string(id) + "~99999999999999999999"} {
		if gotID, n, err := job.ParseTaskID(s); err == nil {
			t.Errorf("%q is read as %s, %d", s, gotID, n)
		}
	}
}

func FuzzParseTaskID(f *testing.F) {
	for _, s := range []string{"", "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8057~2", "~", "a~b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, dispatch, err := job.ParseTaskID(s)
		if err != nil {
			return
		}
		if again := (job.Task{ID: id, Dispatch: dispatch}).TaskID(); again != strings.ToLower(s) {
			t.Errorf("%q is read as %s, %d, whose name is %q", s, id, dispatch, again)
		}
	})
}
