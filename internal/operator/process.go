package operator

import (
	"fmt"
	"text/tabwriter"

	"github.com/postrider/postrider/internal/app"
)

// process is a command that runs until it is told to stop.
type process struct {
	CheckConfig bool `help:"Print the settings, secrets hidden, and what is wrong with them."`

	role app.Role
}

func (p *process) Run(c *call) error {
	if p.CheckConfig {
		c.code = app.CheckConfig(p.role, c.System)
	} else {
		c.code = app.Run(c.ctx, p.role, c.System)
	}
	return nil
}

type migrate struct {
	Up     migrateUp     `cmd:"" default:"1" help:"Bring the schema up to date."`
	Status migrateStatus `cmd:"" help:"Show which migrations the database has."`
}

type migrateUp struct{}

func (migrateUp) Run(c *call) error {
	database, err := app.Migrate(c.ctx, c.System)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Stdout, "The schema of %s is up to date.\n", database)
	return nil
}

type migrateStatus struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (m migrateStatus) Run(c *call) error {
	status, err := app.Migrations(c.ctx, c.System)
	if err != nil {
		return err
	}
	if m.JSON {
		return printJSON(c.Stdout, status)
	}
	tw := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MIGRATION\tAPPLIED")
	for _, s := range status {
		applied := "no"
		if !s.AppliedAt.IsZero() {
			applied = s.AppliedAt.Format("2006-01-02 15:04:05 MST")
		}
		fmt.Fprintf(tw, "%s\t%s\n", s.Name, applied)
	}
	return tw.Flush()
}
