package actions

import "strings"

// didYouMean is what to add to an error about an unknown name: the known one that
// it was probably meant to be, or nothing.
func didYouMean(name string, known []string) string {
	if best := nearest(name, known); best != "" {
		return " (did you mean " + best + "?)"
	}
	return ""
}

// nearest is the known name that an unknown one was probably meant to be; empty
// where none is near.
func nearest(name string, known []string) string {
	best, least := "", min(1+max(1, len(name)/3), max(1, len(name))) // something of it must be left
	if len(name) > maxMeant {
		return ""
	}
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// maxMeant is the longest name that is compared: comparing takes time.
const maxMeant = 128

// distance is how many letters must be changed, added, left out or swapped with
// the next one to make b out of a (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
