package store_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// TestPlansByID looks at the plans that are kept for as long as a session lasts,
// on the empty tables for which they may have been made.
func TestPlansByID(t *testing.T) {
	t.Parallel()
	plans, err := open(t, testkit.Postgres(t), store.Options{}).PlansByID(t.Context())
	if err != nil || len(plans) == 0 {
		t.Fatalf("%d plans, %v", len(plans), err)
	}
	for name, plan := range plans {
		if strings.Contains(plan, "Seq Scan on public.jobs") || strings.Contains(plan, "Hash Join") || strings.Contains(plan, "Merge Join") ||
			strings.Count(plan, "Index Scan using jobs_pkey on public.jobs") != 2 || strings.Count(plan, "Index Cond: (jobs") != 2 {
			t.Errorf("the plan of %s does not look the jobs up by their ids:\n%s", name, plan)
		}
		if !strings.Contains(plan, "$1") {
			t.Errorf("the plan of %s was made for one call's values:\n%s", name, plan)
		}
	}
}
