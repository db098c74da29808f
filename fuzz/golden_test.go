package fuzz

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// Golden stores: one of every released format, as a sealed checkpoint, with what
// it answered when it was made. Every later release opens it and must answer the
// same.
//
//	testdata/golden/format-1.tar   the checkpoint
//	testdata/golden/format-1.json  its answers
//
// As long as a format is not released it may still change; then
//
//	go test ./fuzz -run Golden -update
//
// makes its golden store anew. That of a released format is never made again: a
// change that it does not survive is a new format.

var update = flag.Bool("update", false, "make the golden store of this format anew")

const (
	goldenDir    = "testdata/golden"
	goldenFormat = 1
	goldenMost   = 200 << 10 // bytes
)

// goldenKinds are the kinds of entries that a golden store holds, by their first
// byte: everything but dead records, which come and go in the background.
var goldenKinds = map[byte]string{
	0x01: "tables", 0x02: "catalogue", 0x03: "runs", 0x04: "heads", 0x05: "outputs", 0x06: "store record",
	0x07: "settings", 0x08: "state", 0x09: "row of jumps", 0x0b: "openings", 0x0c: "ages",
}

func TestFault_F11_GoldenStores(t *testing.T) {
	if *update {
		makeGolden(t)
	}
	tars, err := filepath.Glob(filepath.Join(goldenDir, "format-*.tar"))
	require.NoError(t, err)
	require.NotEmpty(t, tars)
	for _, path := range tars {
		t.Run(filepath.Base(path), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "golden")
			unpack(t, path, dir)
			kinds, merged := holdings(t, vfs.Default, copyDir(t, dir))
			for kind, name := range goldenKinds {
				require.Positive(t, kinds[kind], "it holds no %s", name)
			}
			require.Positive(t, merged, "it holds no merged table")

			var want goldenAnswers
			text, err := os.ReadFile(strings.TrimSuffix(path, ".tar") + ".json")
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, &want))
			require.NoError(t, store.Adopt(dir, nil))
			for range 2 { // as it was, and as this release has written it since
				s := openGolden(t, dir)
				require.Equal(t, want, askGolden(t, s, want.IDs))
				require.NoError(t, s.Close())
			}
			goesOn(t, dir, want)
		})
	}
}

// openGolden opens an adopted golden store at the time of its script.
func openGolden(t require.TestingT, dir string) *store.Store {
	s, err := store.Open(dir, &store.Options{
		MinFree: -1, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return wallClock },
	})
	require.NoError(t, err)
	return s
}

// goldenAnswers are all that a golden store says.
type goldenAnswers struct {
	Store  string // the one that it was taken from
	IDs    [][]byte
	Spaces []goldenSpace
}

type goldenSpace struct {
	Name, Status string
	State        map[string]string
	Pending      []string
	Answers      map[string]string // by ID, quoted
}

// askGolden asks an open store for everything.
func askGolden(t require.TestingT, s *store.Store, ids [][]byte) goldenAnswers {
	got := goldenAnswers{Store: s.Ancestors()[0].String(), IDs: ids}
	for name := range s.Namespaces() {
		n, err := s.Namespace(name, nil)
		require.NoError(t, err)
		require.NoError(t, n.Load())
		st, err := n.Status()
		require.NoError(t, err)
		sp := goldenSpace{
			Name: name, Status: goldenStatus(st), State: map[string]string{}, Answers: map[string]string{},
		}
		require.NoError(t, n.View(func(v *store.View) error {
			return v.Scan(nil, func(key, value []byte) error {
				sp.State[fmt.Sprintf("%q", key)] = fmt.Sprintf("%q", value)
				return nil
			})
		}))
		require.NoError(t, n.Pending(func(o store.Output) error {
			sp.Pending = append(sp.Pending, fmt.Sprintf("%v batch %d index %d: %q", o.Origin, o.Sequence, o.Index, o.Data))
			return nil
		}))
		require.ErrorIs(t, n.Update(func(b *store.Batch) error {
			for _, id := range ids {
				d, err := b.Do(store.Record{ID: id}, nil)
				require.NoError(t, err)
				sp.Answers[fmt.Sprintf("%q", id)] = goldenAnswer(d)
			}
			return errAbort
		}), errAbort)
		got.Spaces = append(got.Spaces, sp)
	}
	return got
}

// goldenStatus names what a store promises to keep, field by field: a new field
// of Status is no new format.
func goldenStatus(st store.Status) string {
	committed := "nothing"
	if c := st.Committed; c != nil {
		committed = fmt.Sprintf("%d epoch %d %q", c.Offset, c.LeaderEpoch, c.Tag)
	}
	return fmt.Sprintf("position %v epoch %d, clock %d, %v, batch %d, %d pending, state %t, committed %s, "+
		"last record %d %d, rewind %d, window %v, MaxAdvance %v, MaxAhead %v, IDs from %q, ages %v",
		st.Position, st.Position.LeaderEpoch, st.Clock.UnixMilli(), st.Coverage, st.Sequence, st.Pending, st.HasState,
		committed, st.LastOffset, st.Fingerprint, st.Rewind,
		st.Settings.Window, st.Settings.MaxAdvance, st.Settings.MaxAhead, st.Settings.IDSource, st.Ages)
}

func goldenAnswer(d store.Decision) string {
	text := fmt.Sprint(d.Verdict)
	if d.Verdict == store.Unknown {
		text += fmt.Sprintf(" %v", d.Reason)
	}
	if d.Verdict == store.Duplicate {
		text += fmt.Sprintf(" of %v epoch %d at %d", d.Origin, d.Origin.LeaderEpoch, d.First.UnixMilli())
	}
	return text
}

// goesOn works on with an old store: what it then holds is written by this
// release beside what was written by another.
func goesOn(t *testing.T, dir string, was goldenAnswers) {
	s := openGolden(t, dir)
	for _, sp := range was.Spaces {
		n, err := s.Namespace(sp.Name, nil)
		require.NoError(t, err)
		_, err = n.Do(store.Record{ID: []byte("of a later release")}, func(tx *store.Tx) error {
			_, err := tx.Add([]byte("later"), 1)
			return err
		})
		require.NoError(t, err)
	}
	require.NoError(t, storehook.Drain(s))
	require.NoError(t, s.Close())
	s = openGolden(t, dir)
	for i, sp := range askGolden(t, s, append(was.IDs, []byte("of a later release"))).Spaces {
		require.Contains(t, sp.Answers[`"of a later release"`], "duplicate", sp.Name)
		for id, answer := range was.Spaces[i].Answers {
			require.Equal(t, answer, sp.Answers[id], "%s: ID %s", sp.Name, id)
		}
	}
	require.NoError(t, s.Close())
}

// makeGolden plays the first script that leaves every kind of entry, on a real
// disk, and keeps a checkpoint of it with its answers, which are the model's.
func makeGolden(t *testing.T) {
	sh := usual()
	sh.batches, sh.records = 24, 16
	for seed := uint64(900); ; seed++ {
		s := writeScript(seed, sh)
		base := t.TempDir()
		d := newDriver(s, wrapFS(vfs.Default))
		d.dir = filepath.Join(base, "store")
		for i, st := range s.steps {
			require.NoError(t, d.step(t, st), "seed %d, step %d", seed, i)
		}
		picture := filepath.Join(base, "golden")
		require.NoError(t, d.store.Checkpoint(t.Context(), picture))
		require.NoError(t, d.close())
		kinds, merged := holdings(t, vfs.Default, copyDir(t, picture))
		whole := merged > 0
		for kind := range goldenKinds {
			whole = whole && kinds[kind] > 0
		}
		if !whole {
			continue
		}
		file := filepath.Join(goldenDir, fmt.Sprintf("format-%d", goldenFormat))
		require.NoError(t, os.MkdirAll(goldenDir, 0o755))
		pack(t, picture, file+".tar")

		d.dir = copyDir(t, picture)
		require.NoError(t, store.Adopt(d.dir, nil))
		require.NoError(t, d.open())
		d.check(t, len(s.steps))
		answers, err := json.MarshalIndent(askGolden(t, d.store, s.ids), "", " ")
		require.NoError(t, err)
		require.NoError(t, d.close())
		require.NoError(t, os.WriteFile(file+".json", append(answers, '\n'), 0o644))
		t.Logf("the script of seed %d", seed)
		return
	}
}

// copyDir returns a copy of a directory, for what changes what it looks at.
func copyDir(t *testing.T, from string) string {
	to := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	require.NoError(t, os.Chmod(to, 0o700))
	require.NoError(t, os.Chmod(filepath.Join(to, "db"), 0o700))
	return to
}

// pack writes a directory into an archive: names and contents, nothing else.
func pack(t *testing.T, dir, file string) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		h := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(content))}
		if err = errors.Join(err, w.WriteHeader(h)); err == nil {
			_, err = w.Write(content)
		}
		return err
	}))
	require.NoError(t, w.Close())
	require.Less(t, b.Len(), goldenMost)
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o644))
}

// unpack is the reverse of pack.
func unpack(t *testing.T, file, dir string) {
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		require.True(t, filepath.IsLocal(h.Name), h.Name)
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
}
