package main

import (
	"html"
	"io"
	"math"
	"strings"
)

// The plot's measures, in pixels.
const (
	panelWidth = 470
	labelWidth = 200 // of the contestants' names
	barHeight  = 14
	barStep    = 19
	headHeight = 30 // of a panel's title
	margin     = 16
)

const plotStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .unit { fill: #656d76 }
.bar { fill: #a8b3bd } .ours { fill: #1a7f5a } .back { fill: #fff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .unit { fill: #8d96a0 } .bar { fill: #57606a } .ours { fill: #3fb98a } .back { fill: #0d1117 }
}
</style>
`

// panel is one row of the table as bars, each as long as its share of the
// longest.
type panel struct {
	title, unit string
	bars        []bar
	longest     float64
}

type bar struct {
	name   string
	figure float64
	ours   bool
}

func (p panel) height() int { return headHeight + barStep*len(p.bars) + margin }

func (r *report) panels() []panel {
	var out []panel
	for _, c := range r.Cases {
		for i, row := range c.Rows {
			p := panel{title: row.Name, unit: row.Unit + ", " + row.better() + " is better"}
			for _, name := range contestants(r.Cases) {
				figures := c.column(name, i)
				if len(figures) == 0 {
					continue
				}
				m := median(figures)
				p.bars = append(p.bars, bar{name, m, strings.HasPrefix(name, ours)})
				p.longest = math.Max(p.longest, m)
			}
			out = append(out, p)
		}
	}
	return out
}

// svg draws the table, two panels beside each other.
func (r *report) svg(w io.Writer) error {
	panels := r.panels()
	heights := [2]int{margin, margin}
	type place struct{ x, y int }
	places := make([]place, len(panels))
	for i, p := range panels {
		column := 0
		if heights[1] < heights[0] {
			column = 1
		}
		places[i] = place{margin + column*(panelWidth+margin), heights[column]}
		heights[column] += p.height()
	}
	width, height := 2*panelWidth+3*margin, max(heights[0], heights[1])
	out := &printer{w: w}
	out.f(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Postrider beside its peers">`+"\n",
		width, height, width, height)
	out.f("%s<rect class=\"back\" width=\"100%%\" height=\"100%%\"/>\n", plotStyle)
	for i, p := range panels {
		p.draw(out, places[i].x, places[i].y)
	}
	out.f("</svg>\n")
	return out.err
}

func (p panel) draw(out *printer, x, y int) {
	out.f(`<text x="%d" y="%d"><tspan class="title">%s</tspan> <tspan class="unit">%s</tspan></text>`+"\n",
		x, y+14, html.EscapeString(p.title), html.EscapeString(p.unit))
	const room = panelWidth - labelWidth - 70 // the figure stands behind the bar
	for i, b := range p.bars {
		top := y + headHeight + i*barStep - 6
		class, length := "bar", 1.0
		if b.ours {
			class = "ours"
		}
		if p.longest > 0 {
			length = math.Max(1, b.figure/p.longest*room)
		}
		out.f(`<text x="%d" y="%d">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/><text x="%.1f" y="%d">%s</text>`+"\n",
			x, top+11, html.EscapeString(b.name), class, x+labelWidth, top, length, barHeight,
			float64(x+labelWidth)+length+6, top+11, number(b.figure))
	}
}
