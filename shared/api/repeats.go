package api

import (
	"bytes"
	"reflect"
)

// repetitive is a request of many entries that are often the same, as replicas are: the
// text of one that stands many times in a row is decoded once.
type repetitive interface {
	// repeat puts each entry there as often as it stands, and reports whether there are as
	// many of them as counts.
	repeat(counts []int) bool
}

// jsonSpace is what may stand between the parts of a JSON text: to Unicode more is space.
const jsonSpace = " \t\r\n"

// decodeOnce decodes a text without its repetitions. Where that fails it leaves v as it was,
// empty: what is wrong, and where, only the whole text tells.
func decodeOnce(text []byte, v any) bool {
	r, ok := v.(repetitive)
	if !ok {
		return false
	}
	short, counts := withoutRepeats(text)
	if counts == nil {
		return false
	}
	if decodeWhole(short, v) == nil && r.repeat(counts) {
		return true
	}
	reflect.ValueOf(v).Elem().SetZero()
	return false
}

// withoutRepeats leaves entries out that are, byte by byte, those before them, of the only
// array right below the top, and says how often each of the others stands; nil where none is
// repeated. Whoever reads the text is in the same state before and after such an entry, so
// that the rest is JSON if and only if the whole is.
func withoutRepeats(text []byte) (short []byte, counts []int) {
	var last []byte // the entry before
	repeated := false
	copied, begin := 0, -1 // of the text: what is in short, or left out; where the entry begins
	entry := func(end int) {
		this := bytes.Trim(text[begin:end], jsonSpace)
		if len(this) == 0 || !bytes.Equal(this, last) {
			last, counts = this, append(counts, 1)
			return
		}
		counts[len(counts)-1]++
		repeated = true
		short = append(short, text[copied:begin-1]...) // without the comma
		copied = end
	}
	depth, arrays, within := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if depth++; depth == 2 {
				if within = text[i] == '['; within {
					if arrays++; arrays > 1 {
						return nil, nil
					}
					begin = i + 1
				}
			}
		case ']', '}':
			if depth == 2 && within {
				entry(i)
				within = false
			}
			depth--
		case ',':
			if depth == 2 && within {
				entry(i)
				begin = i + 1
			}
		}
	}
	if !repeated {
		return nil, nil
	}
	return append(short, text[copied:]...), counts
}
