// Package faultdoc keeps docs/faults.md true: every row names the tests that
// prove it, and every such test has its row.
package faultdoc

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the tests into docs/faults.md")

const root = "../.."

var (
	testName = regexp.MustCompile(`(?m)^func (TestFault((?:_[A-F]\d\d)+)_\w+)\(`)
	row      = regexp.MustCompile(`^\| ([A-F]\d\d) \|`)
)

func TestFaults_EveryRowIsProved(t *testing.T) {
	tests := faultTests(t)
	file := filepath.Join(root, "docs", "faults.md")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		names := tests[m[1]]
		delete(tests, m[1])
		require.NotEmpty(t, names, "row %s has no test", m[1])
		slices.Sort(names)
		cells := strings.Split(line, "|")
		require.Len(t, cells, 6, "row %s", m[1])
		cells[4] = " " + strings.Join(names, "<br>") + " "
		lines[i] = strings.Join(cells, "|")
	}
	require.Empty(t, slices.Sorted(maps.Keys(tests)), "tests without a row in %s", file)
	want := strings.Join(lines, "\n")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "run go test ./internal/faultdoc -update")
}

// faultTests returns the tests of the whole module by row, each with its folder.
func faultTests(t *testing.T) map[string][]string {
	tests := map[string][]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
			for _, number := range strings.Split(m[2], "_")[1:] {
				tests[number] = append(tests[number], fmt.Sprintf("%s: %s", path.Dir(name), m[1]))
			}
		}
		return nil
	})
	require.NoError(t, err)
	return tests
}
