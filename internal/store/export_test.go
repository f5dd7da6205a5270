package store

// ClaimsWaiting is how many claims no transaction has taken yet.
func (s *Store) ClaimsWaiting() int { return len(s.claims.in) }
