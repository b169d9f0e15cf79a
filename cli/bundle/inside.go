package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Content is what a finished bundle tells of itself.
type Content struct {
	Imports []string // modules that the runtime must serve, sorted
	Files   []string // source files, and npm packages as "npm:<name>", sorted; none without a source map
}

// external finds what esbuild leaves as it is: require of a literal, and the imports of
// an ES module.
var external = regexp.MustCompile(`(?m)\brequire\("([^"\n]{1,200})"\)|^\s*import\b[^"'\n]*["']([^"'\n]{1,200})["']|\bimport\("([^"\n]{1,200})"\)`)

const mapPrefix = "//# sourceMappingURL=data:application/json;base64,"

// Inside reads a bundle of any origin. It runs nothing of it, and takes what it cannot
// read for not there.
func Inside(code []byte) Content {
	text, encoded := code, []byte(nil)
	if i := bytes.LastIndex(code, []byte(mapPrefix)); i >= 0 {
		text, encoded = code[:i], bytes.TrimSpace(code[i+len(mapPrefix):])
	}
	found := map[string]bool{}
	for _, m := range external.FindAllSubmatch(text, -1) {
		for _, name := range m[1:] {
			if len(name) > 0 {
				found[string(name)] = true
			}
		}
	}
	return Content{Imports: slices.Sorted(maps.Keys(found)), Files: sourcesOf(encoded)}
}

func sourcesOf(encoded []byte) []string {
	data := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(data, encoded)
	if err != nil {
		return nil
	}
	var sources struct {
		Sources []string `json:"sources"`
	}
	if json.Unmarshal(data[:n], &sources) != nil {
		return nil
	}
	found := map[string]bool{}
	for _, s := range sources.Sources {
		found[sourceName(s)] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// sourceName makes one name of all files of an npm package.
func sourceName(source string) string {
	const modules = "node_modules/"
	clean := path.Clean(strings.ReplaceAll(source, `\`, "/"))
	i := strings.LastIndex(clean, modules)
	if i < 0 {
		return clean
	}
	parts := strings.SplitN(clean[i+len(modules):], "/", 3)
	if strings.HasPrefix(parts[0], "@") && len(parts) > 1 {
		return "npm:" + parts[0] + "/" + parts[1]
	}
	return "npm:" + parts[0]
}
