package mail

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// route lists the providers that are for a mail, in the order in which they are
// to be tried: those that name its sender's domain or its category before those
// that take all, then by priority, and by chance and weight among equals. Those to
// avoid are last in any case.
func route(providers []*provider, fromDomain, category string, avoid []string) []*provider {
	if len(providers) == 1 && providers[0].fits(fromDomain, category) {
		return providers
	}
	type candidate struct {
		*provider
		named int     // of domain and category
		turn  float64 // the smallest is first; see below
	}
	var fitting []candidate
	for _, p := range providers {
		if p.fits(fromDomain, category) {
			// Exponentially distributed turns of rate weight: one provider is
			// before another as often as its share of their weights.
			fitting = append(fitting, candidate{p, min(len(p.from), 1) + min(len(p.categories), 1), rand.ExpFloat64() / float64(p.weight)})
		}
	}
	avoided := func(c candidate) int {
		if slices.Contains(avoid, c.name) {
			return 1
		}
		return 0
	}
	slices.SortFunc(fitting, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(avoided(a), avoided(b)), cmp.Compare(b.named, a.named), cmp.Compare(a.priority, b.priority), cmp.Compare(a.turn, b.turn))
	})
	out := make([]*provider, len(fitting))
	for i, c := range fitting {
		out[i] = c.provider
	}
	return out
}

// fits tells whether the provider is for such a mail.
func (s settings) fits(fromDomain, category string) bool {
	return (len(s.from) == 0 || slices.Contains(s.from, fromDomain)) &&
		(len(s.categories) == 0 || slices.Contains(s.categories, category))
}
