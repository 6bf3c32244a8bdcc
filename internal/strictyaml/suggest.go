package strictyaml

import "fmt"

// Unknown says that a word is none of those that are known, and which of them
// was probably meant.
func Unknown(what, word string, known []string) string {
	text := fmt.Sprintf("unknown %s %q", what, word)
	if near := nearest(word, known); near != "" {
		text += fmt.Sprintf(": did you mean %q?", near)
	}
	return text
}

// nearest is the candidate that takes the fewest edits, "" when all are far. The
// word itself is none: it is known in another place of the file.
func nearest(word string, candidates []string) (best string) {
	fewest := len(word)/2 + 1
	for _, c := range candidates {
		if d := distance(word, c); d > 0 && d < fewest {
			best, fewest = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
