package cli

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
)

// steers tells characters that a terminal obeys instead of showing them, or that turn
// the direction of a line: names, descriptions and messages are written by others.
func steers(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r)
}

// clean keeps a value on its line, and off the screen what steers a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case steers(r):
			return -1
		default:
			return r
		}
	}, s)
}

// escapeJSON writes what steers a terminal as JSON's escapes. encoding/json does so
// for the characters below the space alone; the others stand in strings only, so that
// the value stays the same.
func escapeJSON(data []byte) []byte {
	if bytes.IndexFunc(data, steers) < 0 {
		return data
	}
	var out bytes.Buffer
	for _, r := range string(data) {
		if steers(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

// yamlOf turns JSON into YAML, and quotes and escapes strings that steer a terminal:
// YAML does not allow such characters otherwise, and the library writes them as they are.
func yamlOf(data []byte) ([]byte, error) {
	var v any
	if err := yaml.UnmarshalWithOptions(data, &v, yaml.UseOrderedMap()); err != nil {
		return nil, err
	}
	return yaml.Marshal(quoteSteering(v))
}

func quoteSteering(v any) any {
	switch v := v.(type) {
	case string:
		if strings.IndexFunc(v, steers) >= 0 {
			return quoted(v)
		}
	case []any:
		for i := range v {
			v[i] = quoteSteering(v[i])
		}
	case yaml.MapSlice:
		for i := range v {
			v[i].Key, v[i].Value = quoteSteering(v[i].Key), quoteSteering(v[i].Value)
		}
	}
	return v
}

// quoted is a string that is written with double quotes and escapes.
type quoted string

// MarshalYAML writes it; Go's escapes are YAML's as well.
func (q quoted) MarshalYAML() ([]byte, error) { return []byte(strconv.QuoteToASCII(string(q))), nil }
