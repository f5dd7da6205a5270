package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Role is what a user of the dashboard may do.
type Role string

// The roles. A viewer reads, and sees recipients' addresses masked.
const (
	RoleAdmin  Role = "admin"
	RoleViewer Role = "viewer"
)

// Bounds of a password hash's cost: below, guessing is cheap; above, a login
// takes seconds.
const (
	minCost = 10
	maxCost = 15
)

// Users is the parsed form of name:bcrypt-hash:admin|viewer,…
type Users []User

// User is one who may use the dashboard.
type User struct {
	Name string
	Role Role

	hash []byte // bcrypt's, in its text form
}

// Admin reports whether the user may act.
func (u User) Admin() bool { return u.Role == RoleAdmin }

// UnmarshalText parses the list. White space around an entry is ignored. An
// error names the entry and never holds a hash.
func (u *Users) UnmarshalText(text []byte) error {
	var users Users
	for i, entry := range strings.Split(string(text), ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue // a comma at the end
		}
		user, err := parseUser(entry)
		if err != nil {
			return fmt.Errorf("entry %d%w", i+1, err)
		}
		if slices.ContainsFunc(users, func(other User) bool { return other.Name == user.Name }) {
			return fmt.Errorf("entry %d (%s): an entry before it has the same name", i+1, user.Name)
		}
		users = append(users, user)
	}
	if len(users) == 0 {
		return fmt.Errorf("holds no user; leave it unset for a dashboard that is open on loopback")
	}
	*u = users
	return nil
}

func parseUser(entry string) (User, error) {
	parts := strings.Split(entry, ":")
	if len(parts) != 3 {
		return User{}, fmt.Errorf(": want name:bcrypt-hash:admin or name:bcrypt-hash:viewer")
	}
	name, hash, role := parts[0], parts[1], Role(parts[2])
	if !keyName.MatchString(name) {
		return User{}, fmt.Errorf(": the name must be 1 to 64 letters, digits, dots, underscores or hyphens")
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return User{}, fmt.Errorf(" (%s): the second part is no bcrypt hash, such as postrider hash-password prints (a shell expands the $ in it unless quoted)", name)
	}
	if cost < minCost || cost > maxCost {
		return User{}, fmt.Errorf(" (%s): the hash has the cost %d; want %d to %d", name, cost, minCost, maxCost)
	}
	if role != RoleAdmin && role != RoleViewer {
		return User{}, fmt.Errorf(" (%s): the role must be %s or %s", name, RoleAdmin, RoleViewer)
	}
	return User{Name: name, Role: role, hash: []byte(hash)}, nil
}

// Login returns the user of that name if the password is theirs. For a name
// that nobody has it does the work of checking a password all the same, so
// that the time taken does not tell which names exist.
func (u Users) Login(name, password string) (User, bool) {
	if len(u) == 0 {
		return User{}, false
	}
	user, known := u.find(name)
	if !known {
		user = u.standIn(name)
	}
	fits := bcrypt.CompareHashAndPassword(user.hash, []byte(password)) == nil
	if !fits || !known {
		return User{}, false
	}
	return user, true
}

// standIn is the user whose hash is checked for a name that nobody has: always
// the same one for a name, and each as often as the others, so that hashes of
// several costs give no name away either.
func (u Users) standIn(name string) User {
	sum := sha256.Sum256([]byte(name))
	return u[binary.BigEndian.Uint64(sum[:])%uint64(len(u))]
}

func (u Users) find(name string) (User, bool) {
	i := slices.IndexFunc(u, func(user User) bool { return user.Name == name })
	if i < 0 {
		return User{}, false
	}
	return u[i], true
}
