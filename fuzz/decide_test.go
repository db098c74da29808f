package fuzz

import (
	"flag"
	"testing"

	"pgregory.net/rapid"
)

func init() {
	if !raceDetector {
		return
	}
	// Fewer where each takes ten times as long; the command line overrules it.
	if err := flag.Set("rapid.checks", "8"); err != nil {
		panic(err)
	}
}

// Whatever the log and however it is laid out, the store decides as the law
// says, and stands where the law stands.
func TestDecide_AsTheLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLayout(t)
		play(t, l, drawScript(t, drawSettings(t), atMost(4000, 1500)))
	})
}

// Several namespaces of one store, played in turns, do not know of each other.
func TestDecide_NamespacesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLayout(t)
		var scripts []script
		for range rapid.IntRange(2, 4).Draw(t, "namespaces") {
			s := drawSettings(t)
			if len(scripts) > 0 {
				s.wall = scripts[0].wall
			}
			scripts = append(scripts, drawScript(t, s, 500))
		}
		play(t, l, scripts...)
	})
}
