package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// place is file:line:column as stack traces name it.
var place = regexp.MustCompile(`([^\s()'"]+\.[cm]?[jt]sx?):(\d+):(\d+)`)

// maxSourceLine bounds what is shown of a line, in characters: generated code has
// lines without end.
const maxSourceLine = 160

// excerpt shows the first line of the pack's own files that a text names, with the two
// before it and a mark below its column; "" where it names none.
func excerpt(inputs []string, text string) string {
	for _, m := range place.FindAllStringSubmatch(text, -1) {
		file := ownFile(inputs, strings.TrimPrefix(m[1], "file://"))
		line, lineErr := strconv.Atoi(m[2])
		column, columnErr := strconv.Atoi(m[3])
		if file == "" || lineErr != nil || columnErr != nil {
			continue
		}
		if shown := sourceLines(file, line, column); shown != "" {
			return shown
		}
	}
	return ""
}

// ownFile finds the input that a trace means. A source map names files by their place
// in the pack, which the runtime takes for one beside the bundle: so the input counts
// that has the longest end of its path in common, and of those the one that lies highest.
func ownFile(inputs []string, named string) string {
	parts := pathParts(named)
	best, longest, depth := "", 0, 0
	for _, f := range inputs {
		own := pathParts(f)
		same := 0
		for same < min(len(own), len(parts)) && own[len(own)-1-same] == parts[len(parts)-1-same] {
			same++
		}
		if same > longest || same == longest && same > 0 && len(own) < depth {
			best, longest, depth = f, same, len(own)
		}
	}
	return best
}

func pathParts(path string) []string {
	return strings.Split(strings.Trim(filepath.ToSlash(filepath.Clean(path)), "/"), "/")
}

func sourceLines(file string, line, column int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "" // gone since
	}
	lines := strings.Split(string(data), "\n")
	if line < 1 || line > len(lines) || column < 1 || utf8.RuneCountInString(lines[line-1]) > maxSourceLine {
		return ""
	}
	const before = 2
	width := len(strconv.Itoa(line))
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d\n", filepath.Base(file), line, column)
	for n := max(1, line-before); n <= line; n++ {
		fmt.Fprintf(&b, "  %*d | %s\n", width, n, clean(lines[n-1]))
	}
	pad := strings.Repeat(" ", min(column-1, utf8.RuneCountInString(lines[line-1]))) // a tab is shown as a space
	fmt.Fprintf(&b, "  %*s | %s^", width, "", pad)
	return b.String()
}
