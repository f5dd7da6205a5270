package template

import (
	"strings"
	"testing"

	"github.com/aymerick/douceur/inliner"
)

// pages try the CSS inliner: what wins over what, what stays in the head, what
// old programs want as attributes, and what cannot be read.
var pages = map[string]string{
	"no style":            `<p>Hello`,
	"rank":                `<style>p{color:red} .b{color:blue} #c{color:green} p.b{color:black}</style><p>1<p class=b>2<p class=b id=c>3`,
	"order":               `<style>p{color:red;color:blue} p{margin:0} p{margin:1px}</style><p>x`,
	"important":           `<style>p{color:red !important} .b{color:blue}</style><p class=b>x<p style="color:green">y<p style="color:green !important">z`,
	"own style":           `<style>p{color:red;margin:0}</style><p style="color: blue; padding: 1px">x<div style="color: blue">y</div>`,
	"several, far apart":  `<head><style>p{color:red}</style></head><body><style>p{margin:0}</style><p>x<style>@media print{p{color:black}}</style>`,
	"stays in the head":   `<head><title>t</title><style>a:hover{color:red} a{color:blue} p::first-line{color:red} @media (max-width:9px){a{color:green !important}} @font-face{font-family:x;src:url(y)}</style></head><a href=x>x</a>`,
	"attributes":          `<style>body{background-color:#fff} td{vertical-align:top;text-align:left;background-color:red} table{background-image:url(x)} img{float:left} p{float:left}</style><table><tr><td align=right>x</table><img src=x><p>y`,
	"looks at attributes": `<style>[align]{color:red} td{text-align:left} [style]{margin:0}</style><table><tr><td>x<td style="top:0">y</table>`,
	"combinators":         `<style>ul>li{color:red} li+li{margin:0} li ~ li{padding:0} ul li:first-child{top:0} ul li:nth-child(2){left:0} *{border:0}</style><ul><li>1<li>2<li>3</ul>`,
	"lists":               `<style>h1, h2 , .x{color:red}</style><h1>1</h1><h2>2</h2><b class=x>3</b>`,
	"selector unknown":    `<style>p:is(.a){color:red} p{margin:0}</style><p class=a>x`,
	"CSS broken":          `<style>p { color }</style><p>x`,
	"own style broken":    `<style>p{color:red}</style><p style="}">x`,
	"empty":               ``,
	"entities":            `<style>p{font-family:"A & B",'C'}</style><p title="&quot;&amp;">&lt;&nbsp;x`,
}

// The inliner does what douceur's does; it is there because that one reads the
// CSS anew for each page.
func TestInlinesAsDouceurDoes(t *testing.T) {
	var shared styles // which holds another page's CSS each time
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			want, wantErr := inliner.Inline(page)
			for range 2 {
				got, err := shared.inline(page)
				if got != want || (err == nil) != (wantErr == nil) {
					t.Fatalf("it is, with %v,\n%s\nand douceur's, with %v,\n%s", err, got, wantErr, want)
				}
			}
		})
	}
}

// CSS may be made of data: what was read for one page is not put into another.
func TestStylesOfData(t *testing.T) {
	tm := one(t, files{"t.html": page(`<html><head><style>p{color:{{.c}}}</style></head><body><p>x</p></body></html>`)})
	for range 2 {
		for _, color := range []string{"red", "blue"} {
			if m := render(t, tm, "", `{"c":"`+color+`"}`); !strings.Contains(m.HTML, `<p style="color: `+color+`;">`) {
				t.Errorf("in %s it is %s", color, m.HTML)
			}
		}
	}
}
