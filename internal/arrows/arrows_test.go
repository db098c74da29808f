// Package arrows proves which package may import which:
//
//	window <- store <- adapter <- the rest
package arrows

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	// Linked so that a changed import there is a changed test here, and a
	// cached result is never believed.
	_ "github.com/firstseen/firstseen/adapter"
	_ "github.com/firstseen/firstseen/store"
	_ "github.com/firstseen/firstseen/window"
)

const module = "github.com/firstseen/firstseen/"

const (
	bloom  = "github.com/bits-and-blooms"
	kafka  = "github.com/twmb/franz-go"
	pebble = "github.com/cockroachdb/pebble"
)

// forTests are the modules that a program which imports a shipped package
// must never get, and the one that is for our own program.
var forTests = []string{
	"github.com/spf13/cobra",
	"github.com/stretchr/testify",
	"github.com/twmb/franz-go/pkg/kfake",
	"go.uber.org/goleak",
	"pgregory.net/rapid",
	module + "internal/kafkatest",
}

// goPackage is what `go list -json` says of a package; imports of its test
// files are not among its Imports.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func TestImports_Window_StandardLibraryOnly(t *testing.T) {
	for _, p := range deps(t, "window") {
		require.True(t, p.Standard || p.ImportPath == module+"window",
			"window depends on %s", p.ImportPath)
	}
}

func TestImports_Store_KnowsNoKafkaAndNothingAboveIt(t *testing.T) {
	for _, p := range deps(t, "store") {
		require.False(t, under(p.ImportPath, kafka), "store depends on %s", p.ImportPath)
		for _, above := range []string{"adapter", "cmd", "metrics", "simtest", "bench", "fuzz"} {
			require.False(t, under(p.ImportPath, module+above), "store depends on %s", p.ImportPath)
		}
	}
}

func TestImports_Adapter_KnowsPebbleOnlyThroughStore(t *testing.T) {
	knowsPebble := func(path string) bool {
		return under(path, module+"store") || under(path, module+"internal/storehook")
	}
	for _, p := range deps(t, "adapter") {
		if !strings.HasPrefix(p.ImportPath, module) || knowsPebble(p.ImportPath) {
			continue
		}
		for _, imported := range p.Imports {
			require.False(t, under(imported, pebble) || under(imported, bloom),
				"%s imports %s", p.ImportPath, imported)
		}
		for _, above := range []string{"cmd", "metrics", "simtest", "bench", "fuzz"} {
			require.False(t, under(p.ImportPath, module+above), "adapter depends on %s", p.ImportPath)
		}
	}
}

func TestImports_Shipped_BringsNothingOfTheTests(t *testing.T) {
	for _, name := range []string{"window", "store", "adapter"} {
		for _, p := range deps(t, name) {
			for _, m := range forTests {
				require.False(t, under(p.ImportPath, m), "%s depends on %s", name, p.ImportPath)
			}
		}
	}
}

// deps lists a package of the module and everything that it depends on,
// without its tests.
func deps(t *testing.T, name string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports", module+name)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, &stderr)
	var pkgs []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p goPackage
		require.NoError(t, dec.Decode(&p))
		pkgs = append(pkgs, p)
	}
	require.True(t, slices.ContainsFunc(pkgs, func(p goPackage) bool {
		return p.ImportPath == module+name
	}), "go list does not list %s itself", name)
	return pkgs
}

// under tells whether a package path is root or lies below it.
func under(path, root string) bool {
	rest, found := strings.CutPrefix(path, root)
	return found && (rest == "" || rest[0] == '/')
}
