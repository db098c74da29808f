package store

import "fmt"

// What a later release wrote is neither damage nor to be guessed at.

// unparsed says why a stored value, whose first byte is its format, does not
// parse: a later release wrote it, or it is damaged.
func unparsed(what string, value []byte, format byte) error {
	if len(value) > 0 && value[0] > format {
		return unread(what, int(value[0]), int(format))
	}
	return corruptf("%s does not parse", what)
}

// unread says that something has a format that this release does not read.
func unread(what string, has, reads int) error {
	return fmt.Errorf("%w: %s has format %d, this release reads %d; open it with the release that wrote it, "+
		"or a later one", ErrFormat, what, has, reads)
}

// formatOf reads the number behind the head of a text file's first line, 0 when
// it is another text.
func formatOf(text, head string) int {
	var format int
	if _, err := fmt.Sscanf(text, head+"%d", &format); err != nil {
		return 0
	}
	return format
}
