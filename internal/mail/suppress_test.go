package mail

import "testing"

func TestBlocking(t *testing.T) {
	of := func(category string, r Reason) Suppression {
		return Suppression{Address: "a@example.com", Category: category, Reason: r}
	}
	for name, c := range map[string]struct {
		found     []Suppression
		category  string
		essential bool
		want      Reason // empty: the mail goes out
	}{
		"nothing is known":                      {nil, "news", false, ""},
		"unsubscribed from all":                 {[]Suppression{of("", Unsubscribe)}, "news", false, Unsubscribe},
		"unsubscribed from it":                  {[]Suppression{of("news", Unsubscribe)}, "news", false, Unsubscribe},
		"unsubscribed from another":             {[]Suppression{of("offers", Unsubscribe)}, "news", false, ""},
		"unsubscribed from one, mail without":   {[]Suppression{of("offers", Unsubscribe)}, "", true, ""},
		"unsubscribed from all, essential":      {[]Suppression{of("", Unsubscribe)}, "security", true, ""},
		"bounced, essential":                    {[]Suppression{of("", Bounce)}, "security", true, Bounce},
		"complained, essential":                 {[]Suppression{of("", Complaint)}, "", true, Complaint},
		"by hand, essential":                    {[]Suppression{of("", Manual)}, "receipt", true, Manual},
		"by hand for it, essential":             {[]Suppression{of("receipt", Manual)}, "receipt", true, Manual},
		"by hand for another":                   {[]Suppression{of("receipt", Manual)}, "security", true, ""},
		"the gravest is named, whatever order":  {[]Suppression{of("", Unsubscribe), of("", Complaint), of("", Bounce)}, "news", false, Complaint},
		"what does not count is not named":      {[]Suppression{of("", Unsubscribe), of("", Bounce)}, "alert", true, Bounce},
		"of another category is not the reason": {[]Suppression{of("offers", Manual), of("", Unsubscribe)}, "news", false, Unsubscribe},
	} {
		t.Run(name, func(t *testing.T) {
			got, blocked := Blocking(c.found, c.category, c.essential)
			if got.Reason != c.want || blocked != (c.want != "") {
				t.Errorf("got %q, %v; want %q", got.Reason, blocked, c.want)
			}
		})
	}
}
