package operator

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"

	"github.com/postrider/postrider/internal/auth"
)

// minPassword is the least length of a dashboard user's password.
const minPassword = 10

type hashPassword struct {
	Name string `help:"Print the whole entry of POSTRIDER_DASHBOARD_USERS for this user."`
	Role string `enum:"admin,viewer" default:"admin" help:"The user's role in that entry: admin or viewer."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (h hashPassword) Run(c *call) error {
	password, err := readPassword(c)
	if err != nil {
		return err
	}
	if len(password) < minPassword || len(password) > 72 { // bcrypt looks at 72 bytes
		return usagef("the password must have %d to 72 bytes, and has %d", minPassword, len(password))
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 12)
	if err != nil {
		return fmt.Errorf("hashing the password: %w", err)
	}
	out := map[string]string{"hash": string(hash)}
	shown := string(hash)
	if h.Name != "" {
		shown = h.Name + ":" + string(hash) + ":" + h.Role
		var users auth.Users
		if err := users.UnmarshalText([]byte(shown)); err != nil {
			return usagef("--name: %v", err)
		}
		out["entry"] = shown
	}
	if h.JSON {
		return printJSON(c.Stdout, out)
	}
	fmt.Fprintln(c.Stdout, shown)
	return nil
}

// readPassword takes one line; from a terminal without showing it, and twice.
func readPassword(c *call) (string, error) {
	terminal, ok := c.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		line, err := bufio.NewReader(c.Stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(c.Stderr, prompt)
		line, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(c.Stderr)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		typed[i] = string(line)
	}
	if typed[0] != typed[1] {
		return "", usagef("the two passwords differ")
	}
	return typed[0], nil
}

type newKey struct {
	Name   string `arg:"" help:"The name that logs and jobs show, such as shop."`
	Scopes string `default:"jobs:write+jobs:read" help:"What it may do: jobs:write jobs:read schedules:write notifications admin, with + between."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (n newKey) Run(c *call) error {
	secret := rand.Text() // 128 bits at least
	entry := n.Name + ":" + secret + ":" + n.Scopes
	var keys auth.APIKeys
	if err := keys.UnmarshalText([]byte(entry)); err != nil || len(keys) != 1 {
		return usagef("this cannot be a key: %v", err)
	}
	if n.JSON {
		return printJSON(c.Stdout, map[string]string{"name": n.Name, "secret": secret, "entry": entry})
	}
	fmt.Fprintf(c.Stdout, "%s\n\nThis line goes into POSTRIDER_API_KEYS, with a comma after those that are there.\nCallers send: Authorization: Bearer %s\n", entry, secret)
	return nil
}
