// Command coverage prints the statement coverage of each Stark module from a
// coverage profile, and fails where a module is below what the project promises:
// 90 % for core and shared, 80 % for everything together.
//
// usage: coverage <profile>
package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

const modulePrefix = "github.com/stark-orchestrator/stark/"

// minimum is the share that a module must reach, in percent; "total" is all of them.
var minimum = map[string]float64{"core": 90, "shared": 90, "total": 80}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: coverage <profile>")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

func run(profile string, out io.Writer) error {
	f, err := os.Open(profile)
	if err != nil {
		return err
	}
	defer f.Close()
	counts, err := read(f)
	if err != nil {
		return err
	}
	return report(counts, out)
}

// block is one basic block of a file: where it is and how many statements it has.
type block struct {
	statements int
	hit        bool
}

// read gives the blocks of each module. A block that several test binaries ran
// stands in the profile several times; it counts once.
func read(r io.Reader) (map[string]map[string]block, error) {
	modules := map[string]map[string]block{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		rest, ours := strings.CutPrefix(line, modulePrefix)
		module, _, nested := strings.Cut(rest, "/")
		if !ours || !nested || module == "tests" {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) != 3 {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("malformed line %q: %w", line, err)
		}
		if modules[module] == nil {
			modules[module] = map[string]block{}
		}
		b := modules[module][fields[0]]
		b.statements = statements
		b.hit = b.hit || fields[2] != "0"
		modules[module][fields[0]] = b
	}
	return modules, lines.Err()
}

func report(modules map[string]map[string]block, out io.Writer) error {
	var below []string
	allHit, allStatements := 0, 0
	line := func(name string, hit, statements int) {
		percent := 100 * float64(hit) / float64(max(statements, 1))
		fmt.Fprintf(out, "coverage %-9s %5.1f %% of %d statements\n", name, percent, statements)
		if want := minimum[name]; percent < want {
			below = append(below, fmt.Sprintf("%s has %.1f %%, needs %.0f %%", name, percent, want))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		hit, statements := 0, 0
		for _, b := range modules[name] {
			statements += b.statements
			if b.hit {
				hit += b.statements
			}
		}
		allHit, allStatements = allHit+hit, allStatements+statements
		line(name, hit, statements)
	}
	line("total", allHit, allStatements)
	if len(below) > 0 {
		return fmt.Errorf("too low: %s", strings.Join(below, "; "))
	}
	return nil
}
