package jobtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openMemory(*testing.T) (job.Store, jobtest.Clock) {
	m := jobtest.NewMemory()
	return m, m.Clock
}

func TestMemoryConforms(t *testing.T) { jobtest.Conformance(t, openMemory) }

// TestMemoryKeepsThePromises proves the domain's rules: the model is made of
// them.
func TestMemoryKeepsThePromises(t *testing.T) { jobtest.Property(t, openMemory, 100) }
