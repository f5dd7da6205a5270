package job_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

func TestErrors(t *testing.T) {
	inner := errors.New("dial tcp: refused")
	for _, c := range []struct {
		err  error
		code job.Code
		text string
	}{
		{nil, "", ""},
		{inner, job.CodeInternal, "dial tcp: refused"},
		{job.Errorf(job.CodeConflict, "the job is %s", "done"), job.CodeConflict, "the job is done"},
		{job.Wrap(job.CodeTemporary, inner, "away"), job.CodeTemporary, "away: dial tcp: refused"},
		{fmt.Errorf("claiming: %w", job.Errorf(job.CodeNotFound, "none")), job.CodeNotFound, "claiming: none"},
		{job.Invalid(fmt.Errorf("reading: %w", tasks.Invalid{{Field: "to", Problem: "must not be empty"}})), job.CodeInvalid, "to must not be empty"},
		{job.Invalid(inner), job.CodeInvalid, "dial tcp: refused"},
	} {
		if got := job.CodeOf(c.err); got != c.code {
			t.Errorf("the code of %v is %q, want %q", c.err, got, c.code)
		}
		if c.err != nil && c.err.Error() != c.text {
			t.Errorf("the error reads %q, want %q", c.err, c.text)
		}
	}
	if !errors.Is(job.Wrap(job.CodeTemporary, inner, "away"), inner) {
		t.Error("the wrapped error cannot be found")
	}
}
