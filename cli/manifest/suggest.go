package manifest

import (
	"maps"
	"slices"
	"strings"
)

// suggestion names the field that somebody may have meant.
func suggestion[V any](name string, known map[string]V) string {
	if near := Nearest(name, slices.Sorted(maps.Keys(known))); near != "" {
		return ": did you mean " + near + "?"
	}
	return ": want one of " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

// Nearest gives the word that somebody may have meant, or "".
func Nearest(word string, words []string) string {
	best, least := "", 1+len(word)/3
	for _, w := range words {
		if d := distance(strings.ToLower(word), strings.ToLower(w)); d <= least && (best == "" || d < least) {
			best, least = w, d
		}
	}
	return best
}

// distance counts the letters that must be added, dropped or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
