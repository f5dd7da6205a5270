// Package sheet makes text fit for the cell of a spreadsheet that opens a CSV.
package sheet

import "strings"

// formulas begin a cell that a spreadsheet computes (OWASP, "CSV Injection").
const formulas = "=+-@\t\r"

// Guarded puts an apostrophe before what a spreadsheet would compute, which it
// takes for "this is text". What has such an apostrophe of its own gets one more.
func Guarded(cell string) string {
	if formula(strings.TrimLeft(cell, "'")) {
		return "'" + cell
	}
	return cell
}

// Unguarded takes away what Guarded has put there.
func Unguarded(cell string) string {
	if strings.HasPrefix(cell, "'") && formula(strings.TrimLeft(cell, "'")) {
		return cell[1:]
	}
	return cell
}

func formula(s string) bool { return s != "" && strings.ContainsRune(formulas, rune(s[0])) }
