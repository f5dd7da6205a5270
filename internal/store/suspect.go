package store

import (
	"net/url"
	"strings"

	"github.com/postrider/postrider/internal/delivery"
)

// suspects tells texts that may give a person away from all others, about as fast
// as they are read: rather too many, since quotes decide. It goes through a text
// once, for all ways of writing at a time (Shift-And: bit i of a state is whether
// the first i+1 places of a pattern stand just before here).
type suspects struct {
	ways  int
	masks []uint64 // for each byte and way, the places that may have the byte
	whole []uint64 // for each way, its last place
}

// mostPlaces is how much of a pattern is looked for.
const mostPlaces = 64

func newSuspects(p delivery.Person) suspects {
	var all [][]string // for each way, the letters that each place may have
	for _, form := range p.Forms {
		local, domain, _ := strings.Cut(form, "@")
		query := strings.ToLower(url.QueryEscape(local))
		for _, way := range []string{form, local + "%40" + domain, query + "%40" + domain, local + `\u0040` + domain} {
			all = append(all, inAnyCase(way))
		}
		// In a return path and in quoted-printable, both without their equals sign.
		all = append(all, inAnyCase(local+domain), inAnyCase(local+"40"+domain))
		for offset := range 3 {
			all = append(all, inBase64(form, offset))
		}
	}
	s := suspects{ways: len(all), masks: make([]uint64, 256*len(all)), whole: make([]uint64, len(all))}
	for w, places := range all {
		places = places[:min(len(places), mostPlaces)]
		for i, letters := range places {
			for _, b := range []byte(letters) {
				s.masks[int(b)*s.ways+w] |= 1 << i
			}
		}
		s.whole[w] = 1 << (len(places) - 1)
	}
	return s
}

// in reports whether the text is suspect. What lines are broken by, as it is and in
// JSON, and equals signs are passed over.
func (s suspects) in(text string) bool {
	states := make([]uint64, s.ways)
	for i := 0; i < len(text); i++ {
		b := text[i]
		switch {
		case b == '=' || b == '\r' || b == '\n':
			continue
		case b == '\\' && i+1 < len(text):
			switch text[i+1] {
			case 'r', 'n':
				i++
				continue
			case '\\': // of JSON's, one
				i++
			}
		}
		masks := s.masks[int(b)*s.ways:][:s.ways]
		for w, mask := range masks {
			states[w] = (states[w]<<1 | 1) & mask
			if states[w]&s.whole[w] != 0 {
				return true
			}
		}
	}
	return false
}

// inAnyCase is what a text looks like in upper or lower case: for each place, which
// bytes it may have.
func inAnyCase(text string) (places []string) {
	for _, b := range []byte(strings.ToLower(text)) {
		letters := []byte{b}
		switch {
		case 'a' <= b && b <= 'z':
			letters = append(letters, b-'a'+'A')
		case b >= 0x80: // part of a letter whose other case may be anything of the kind
			letters = nil
			for other := 0x80; other <= 0xff; other++ {
				letters = append(letters, byte(other))
			}
		}
		places = append(places, string(letters))
	}
	return places
}

// The letters of base64 (RFC 4648 sections 4 and 5, which differ in the last two).
const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// inBase64 is what a text looks like in base64, in upper or lower case, where it
// begins so many bytes behind a multiple of three: for each letter that nothing
// but the text has a part in, which letters it may be.
func inBase64(text string, offset int) (places []string) {
	lower, upper := []byte(strings.ToLower(text)), []byte(strings.ToLower(text))
	for i, b := range upper {
		if 'a' <= b && b <= 'z' {
			upper[i] = b - 'a' + 'A'
		}
	}
	for bit := (8*offset + 5) / 6 * 6; bit+6 <= 8*(offset+len(text)); bit += 6 {
		first, last := bit/8-offset, (bit+5)/8-offset
		letters := ""
		for _, a := range []byte{lower[first], upper[first]} {
			for _, b := range []byte{lower[last], upper[last]} {
				// Six bits from bit%8 on; where they are all the first byte's, the
				// second is not in them.
				letter := base64Letters[(int(a)<<8|int(b))>>(10-bit%8)&63]
				letters += string(letter)
				switch letter {
				case '+':
					letters += "-"
				case '/':
					letters += "_"
				}
			}
		}
		places = append(places, letters)
	}
	return places
}
