package mail

import (
	"fmt"
	"slices"
)

// Categories says which mails nobody can unsubscribe from.
type Categories struct {
	Names []string `env:"POSTRIDER_ESSENTIAL_CATEGORIES" envDefault:"password-reset,security,receipt,alert" help:"the categories of mail that nobody can unsubscribe from, with commas between; mails without a category are such too"`
}

// Validate reports every setting that cannot work, by its variable's name.
func (c Categories) Validate() error {
	for i, name := range c.Names {
		if !categoryPattern.MatchString(name) {
			return fmt.Errorf("POSTRIDER_ESSENTIAL_CATEGORIES: entry %d is not a category: up to 64 lower-case letters, digits, hyphens and underscores", i+1)
		}
	}
	return nil
}

// Essential reports whether mails of the category are sent to whoever is named,
// unless the address is bad: those that a person waits for, a password reset
// say. A mail without a category answers what somebody just did.
func (c Categories) Essential(category string) bool {
	return category == "" || slices.Contains(c.Names, category)
}
